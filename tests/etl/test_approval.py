"""A held delivery before the person who decides: what is asked, and what comes of each answer."""

from __future__ import annotations

from datetime import datetime

import pytest

from etl.approval import answer, question
from etl.run import approve
from etl.site import Site
from expectations.faults import SetupFault
from warehouse import ledger

NOW = datetime(2026, 11, 25, 11, 0).astimezone()


def held(site: Site) -> int:
    with site.warehouse.transaction() as connection:
        (one,) = ledger.deliveries(connection, state="held")
    return one.delivery_id


def state(site: Site, number: int) -> tuple[str, list[tuple[str, str, str]]]:
    with site.warehouse.transaction() as connection:
        decided = [(d["action"], d["decided_by"], d["reason"]) for d in ledger.decisions(connection, number)]
        return ledger.get(connection, number).state, decided


def test_the_question_says_why_and_how_much_and_no_value(delivered: Site) -> None:
    number = held(delivered)
    asked = question(delivered, number)
    assert asked.is_open and asked.subject.startswith(f"{number}: ") and "2025-07" in asked.subject
    assert "clinic_2025-07.csv" not in asked.body and f"ndc approve {number}" in asked.body
    assert "Nguyễn Văn Kín" not in asked.body and "không phải số" not in asked.body


@pytest.mark.parametrize(("is_approved", "becomes"), [(True, "stored"), (False, "returned")])
def test_an_answer_is_carried_out_and_written_down_with_who_and_why(delivered: Site, is_approved: bool, becomes: str) -> None:
    number = held(delivered)
    said = answer(delivered, number, is_approved=is_approved, by="lan (airflow)", reason="gọi điện hỏi rồi", now=NOW)
    assert becomes in said.en
    after, decided = state(delivered, number)
    assert after == becomes and [(by, reason) for _, by, reason in decided] == [("lan (airflow)", "gọi điện hỏi rồi")]
    assert not question(delivered, number).is_open


def test_whoever_decides_second_is_told_who_was_first_and_changes_nothing(delivered: Site) -> None:
    number = held(delivered)
    approve(delivered, number, by="lan", reason="đúng", now=NOW)
    before = state(delivered, number)
    said = answer(delivered, number, is_approved=False, by="time-out (airflow)", reason="no answer", now=NOW)
    assert "decided before" in said.en and "lan" in said.en and state(delivered, number) == before


def test_a_delivery_that_does_not_exist_cannot_be_asked_about(delivered: Site) -> None:
    with pytest.raises(SetupFault):
        question(delivered, 999)
