"""A digest tells each sender what is new, the operator what needs a person, both once, and nobody a value of a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from etl.digest import Digest, Unsent, operator_digest, sender_digests
from etl.digest_text import LISTED, in_words
from etl.run import Trouble, reject
from etl.site import Site
from expectations.faults import Message
from tests.etl.conftest import CONTRACTS, FAULTY, HEADER, lines, put, run_all
from warehouse import notices

NIGHT = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
"""Three in the morning of the 26th where the senders are."""
DAY = timedelta(days=1)
SECRETS = ("Nguyễn Văn Kín", "Trần Thị Mật", "9876", "8765", "31/02/2021", "không phải số")


def for_senders(site: Site, now: datetime) -> list[Digest]:
    with site.warehouse.transaction() as connection:
        return list(sender_digests(site, connection, now))


def for_operator(site: Site, now: datetime, *trouble: Trouble, unsent: tuple[Unsent, ...] = ()) -> Digest | None:
    with site.warehouse.transaction() as connection:
        return operator_digest(site, connection, now, trouble, unsent)


def tell(site: Site, now: datetime, *trouble: Trouble, unsent: tuple[Unsent, ...] = ()) -> Digest | None:
    """Enter all digests of a night, without sending them; returns the operator's."""
    for digest in [*for_senders(site, now), found := for_operator(site, now, *trouble, unsent=unsent)]:
        if digest:
            with site.warehouse.transaction() as connection:
                notices.enter(connection, digest.night, digest.sender, digest.nth, ("s", "b", "p"), digest.items, now)
    return found


def expect(site: Site, *rows: tuple[str, str, str, datetime]) -> None:
    """Enter what is expected: dataset, sender, period, the first moment after the due date."""
    with site.warehouse.transaction("ndc_owner") as connection:
        for dataset, sender, period, due_at in rows:
            connection.execute(
                text("INSERT INTO control.expected (dataset, sender, period, due_at) VALUES (:d, :s, CAST(:p AS date), :a)"),
                {"d": dataset, "s": sender, "p": period, "a": due_at},
            )


def test_a_sender_is_told_each_delivery_with_counts_rules_and_receipt(delivered: Site) -> None:
    (digest,) = for_senders(delivered, NIGHT)
    assert (digest.sender, str(digest.night)) == ("ha-noi", "2026-11-26")
    assert [(e.period, e.outcome, e.read, e.loaded, e.rejected) for e in digest.entries] == [
        ("2025-06", "returned", 2, 0, 2),
        ("2025-07", "held", 0, 0, 0),
        ("2025-05", "in-part", 6, 4, 2),
        ("2025-04", "accepted", 4, 4, 0),
    ]
    returned, held, in_part, _ = digest.entries
    assert [(c.rule, c.lines) for c in returned.causes] == [("tolerance", None), ("opened_on.type", 1), ("visits.type", 1)]
    assert [c.rule for c in held.causes] == ["empty", "volume"]
    assert in_part.causes[0].label == "Ngày mở"
    assert (delivered.settings.outbox / "ha-noi" / returned.receipt).is_file()


def test_the_words_say_the_essential_in_both_languages(delivered: Site) -> None:
    (digest,) = for_senders(delivered, NIGHT)
    words = in_words(digest)
    assert words.subject == ("ndc 26/11: 1 trả lại, 1 tạm giữ, 1 nhận một phần, 1 nhận · 1 returned, 1 held, 1 in part, 1 accepted")
    assert "TRẢ LẠI: Lượt khám theo cơ sở 2025-06, đợt gửi 3\n  dòng: đọc 2, từ chối 2\n  - quá nhiều dòng lỗi (tolerance)\n" in words.body
    assert "RETURNED: clinic 2025-06, delivery 3\n  lines: read 2, rejected 2\n  - too many faulty lines (tolerance)\n" in words.body
    assert "biên nhận: 00000003-clinic-2025-06/receipt.html" in words.body
    assert words.body.count("\n") < 60
    assert "<script" not in words.page and "1 returned, 1 held" in words.page


def test_no_value_of_a_cell_is_in_any_digest(delivered: Site) -> None:
    stored = delivered.settings.outbox / "ha-noi"
    assert all(secret in "".join(p.read_text() for p in stored.rglob("rejected.csv")) for secret in SECRETS[4:]), (
        "the search would find them"
    )
    operator = for_operator(delivered, NIGHT, Trouble("ha-noi/x.csv", Message("Lỗi.", "A fault.")))
    assert operator
    for digest in [*for_senders(delivered, NIGHT), operator]:
        said = "".join([*(vars_of := in_words(digest, "https://status")).body, vars_of.page, vars_of.subject, repr(digest)])
        assert [secret for secret in SECRETS if secret in said] == []


def test_the_operator_gets_totals_and_what_to_act_on(delivered: Site) -> None:
    digest = for_operator(delivered, NIGHT, Trouble("hue/clinic.csv", Message("Ổ đĩa đầy.", "The disk is full.")))
    assert digest
    assert digest.totals == {"clinic": {"returned": 1, "held": 1, "in-part": 1, "accepted": 1}}
    assert [(e.sender, e.delivery_id, e.outcome) for e in digest.entries] == [("ha-noi", 3, "returned"), ("ha-noi", 4, "held")]
    words = in_words(digest, "https://ndc.example/status")
    assert words.subject.startswith("ndc 26/11: 1 sự cố, 1 trả lại, 1 tạm giữ")
    for said in ("ndc approve 4 --reason", "ndc rejections 3", "(ha-noi)", "https://ndc.example/status/deliveries/4", "The disk is full."):
        assert said in words.body
    assert 'href="https://ndc.example/status/deliveries/4"' in words.page


def test_a_sender_gets_no_link_to_what_it_cannot_open(delivered: Site) -> None:
    (digest,) = for_senders(delivered, NIGHT)
    words = in_words(digest, "https://ndc.example/status")
    assert "https://" not in words.body + words.page


def test_what_was_told_is_not_told_again_but_a_change_is(delivered: Site) -> None:
    tell(delivered, NIGHT)
    assert for_senders(delivered, NIGHT + DAY) == []
    reject(delivered, 4, by="an operator", reason="SECRET of Nguyễn Văn Kín", now=NIGHT + DAY)
    (digest,) = for_senders(delivered, NIGHT + DAY)
    assert [(e.delivery_id, e.outcome, e.nights) for e in digest.entries] == [(4, "returned", 2)]
    assert "SECRET" not in in_words(digest).body
    assert "trung tâm không chấp nhận (rejected-by-person)" in in_words(digest).body


def test_there_is_one_digest_a_night_and_later_news_wait_for_the_next(delivered: Site) -> None:
    tell(delivered, NIGHT)
    put(delivered, "ha-noi/clinic/clinic_2025-08.csv", lines(4))
    run_all(delivered)
    assert for_senders(delivered, NIGHT) == []
    assert for_operator(delivered, NIGHT) is None
    assert [e.period for d in for_senders(delivered, NIGHT + DAY) for e in d.entries] == ["2025-08"]


def test_what_stays_open_is_repeated_to_the_operator_with_its_nights(delivered: Site) -> None:
    tell(delivered, NIGHT)
    tell(delivered, NIGHT + DAY)
    third = for_operator(delivered, NIGHT + 2 * DAY)
    assert third and {(e.delivery_id, e.nights) for e in third.entries} == {(3, 3), (4, 3)} and third.totals == {}
    body = in_words(third).body
    assert "TẠM GIỮ: Thành phố Hà Nội (ha-noi), Lượt khám theo cơ sở 2025-07, đợt gửi 4 — lặp lại, từ 3 đêm" in body
    assert "delivery 4 — again, since 3 nights" in body


def test_a_correction_that_is_returned_again_says_since_when_and_a_good_one_ends_it(delivered: Site) -> None:
    tell(delivered, NIGHT)
    put(delivered, "ha-noi/clinic/clinic_2025-06.csv", HEADER + FAULTY + "1,2,3\n")
    run_all(delivered)
    (again,) = for_senders(delivered, NIGHT + DAY)
    assert [(e.outcome, e.nights) for e in again.entries] == [("returned", 2)]
    tell(delivered, NIGHT + DAY)
    put(delivered, "ha-noi/clinic/clinic_2025-06.csv", lines(4))
    run_all(delivered)
    tell(delivered, NIGHT + 2 * DAY)
    operator = for_operator(delivered, NIGHT + 3 * DAY)
    assert operator and [e.period for e in operator.entries] == ["2025-07"]
    put(delivered, "ha-noi/clinic/clinic_2025-06.csv", HEADER + FAULTY)
    run_all(delivered)
    assert [(e.outcome, e.nights) for d in for_senders(delivered, NIGHT + 3 * DAY) for e in d.entries] == [("returned", 1)]


def test_the_operator_is_not_written_to_when_all_is_well(new_site: Callable[..., Site]) -> None:
    site = new_site(contracts=CONTRACTS)
    assert for_operator(site, NIGHT) is None and for_senders(site, NIGHT) == []
    put(site, "ha-noi/clinic/clinic_2025-04.csv", lines(4))
    run_all(site)
    first = tell(site, NIGHT)
    assert first and first.totals == {"clinic": {"accepted": 1}} and first.entries == ()
    assert for_operator(site, NIGHT + DAY) is None


def test_trouble_counts_nights_on_end_and_is_told_on_the_same_night_when_it_is_new(delivered: Site) -> None:
    disk, lost = (Trouble(f"hue/{name}.csv", Message("Hỏng.", "Broken.")) for name in ("disk", "lost"))
    tell(delivered, NIGHT, disk)
    assert for_operator(delivered, NIGHT, disk) is None
    second = for_operator(delivered, NIGHT, disk, lost)
    assert second and second.nth == 2 and [f.where for f in second.troubles] == ["hue/lost.csv"] and second.entries == ()
    nights = {f.where: f.nights for f in (tell(delivered, NIGHT + DAY, disk, lost) or second).troubles}
    assert nights == {"hue/disk.csv": 2, "hue/lost.csv": 1}
    later = for_operator(delivered, NIGHT + 4 * DAY, disk)
    assert later and [f.nights for f in later.troubles] == [1], "two nights without it end the row"


def test_overdue_is_told_once_to_the_sender_and_not_when_it_came(delivered: Site) -> None:
    due = datetime(2025, 7, 10, 17, 0, tzinfo=UTC)
    expect(
        delivered,
        ("clinic", "ha-noi", "2025-05-01", due),
        ("clinic", "ha-noi", "2025-06-01", due),
        ("clinic", "ha-noi", "2025-09-01", due),
        ("clinic", "ha-noi", "2026-12-01", NIGHT + 2 * DAY),
        ("clinic", "hue", "2025-09-01", due),
    )
    found = {d.sender: d for d in for_senders(delivered, NIGHT)}
    assert [(late.period, str(late.due)) for late in found["ha-noi"].late] == [("2025-06", "2025-07-10"), ("2025-09", "2025-07-10")]
    assert [late.sender for late in found["hue"].late] == ["hue"] and found["hue"].entries == ()
    assert "QUÁ HẠN\nLượt khám theo cơ sở 2025-09, hạn 10/07/2025" in in_words(found["hue"]).body
    operator = tell(delivered, NIGHT)
    assert operator and [late.sender for late in operator.late] == ["ha-noi", "ha-noi", "hue"]
    assert for_senders(delivered, NIGHT + DAY) == []


def test_what_a_province_that_is_no_more_owes_is_told_to_its_heir(delivered: Site) -> None:
    expect(delivered, ("clinic", "binh-dinh", "2025-05-01", datetime(2025, 7, 10, 17, 0, tzinfo=UTC)))
    told = {d.sender: [late.sender for late in d.late] for d in for_senders(delivered, NIGHT)}
    assert told["gia-lai-2025"] == ["binh-dinh"] and "binh-dinh" not in told


def test_history_that_was_never_told_is_no_news(delivered: Site) -> None:
    assert for_senders(delivered, NIGHT + 40 * DAY) == []
    tell(delivered, NIGHT)
    reject(delivered, 4, by="x", reason="late", now=NIGHT + 40 * DAY)
    assert [e.delivery_id for d in for_senders(delivered, NIGHT + 40 * DAY) for e in d.entries] == [4]


def test_a_file_that_nobody_can_place_goes_by_a_name_on_one_line(new_site: Callable[..., Site]) -> None:
    site = new_site(contracts=CONTRACTS)
    put(site, "ha-noi/" + "x\x01" * 40 + "<b>.csv", "a\n")
    run_all(site)
    (digest,) = for_senders(site, NIGHT)
    (entry,) = digest.entries
    assert entry.outcome == "returned" and entry.dataset is None and len(entry.label) <= 60
    assert "\x01" not in in_words(digest).body and "<b>" not in in_words(digest).page


def test_a_long_digest_is_capped_and_says_so(delivered: Site) -> None:
    (digest,) = for_senders(delivered, NIGHT)
    long = replace(digest, entries=digest.entries[:1] * 40)
    body = in_words(long).body
    assert f"… và {40 - LISTED} nữa" in body and f"… and {40 - LISTED} more" in body
    assert body.count(" RETURNED:") + body.count("\nRETURNED:") == LISTED
