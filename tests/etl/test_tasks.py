"""What a task of a nightly load says when something goes wrong that nobody foresaw."""

from __future__ import annotations

import traceback

import pytest

from etl.site import Site
from etl.tasks import Wish, Work, carry_out, plan
from expectations.faults import MachineFault
from tests.conftest import NOW
from tests.etl.conftest import lines, put


def _fails(*_: object, **__: object) -> None:
    raise ValueError("Key (doctor)=(Nguyễn Thị Bí Mật) already exists")


def test_an_unforeseen_error_reaches_no_log_with_what_it_says(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    (work,) = plan(site, "clinic", Wish(), NOW)
    monkeypatch.setattr("etl.tasks.carry_on", _fails)
    with pytest.raises(MachineFault) as caught:
        carry_out(site, work, NOW)
    told = "".join(traceback.format_exception(caught.value))
    assert "ValueError" in caught.value.message.en and "Bí Mật" not in told and caught.value.__context__ is None


def test_one_file_that_cannot_be_received_keeps_no_other_from_its_task(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from etl import tasks

    for sender in ("ha-noi", "lai-chau"):
        put(site, f"{sender}/clinic/clinic_2025-05.csv", lines(3))
    take_in = tasks.take_in
    monkeypatch.setattr(
        "etl.tasks.take_in", lambda site, arrival, *more: _fails() if arrival.sender == "ha-noi" else take_in(site, arrival, *more)
    )
    good, bad = plan(site, "clinic", Wish(), NOW)
    assert good["label"] == "lai-chau 2025-05" and bad["label"].startswith("ha-noi/")
    assert "Bí Mật" not in str(bad) and isinstance(Work(**bad), dict)
