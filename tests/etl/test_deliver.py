"""The way of a delivery keeps the invariants of the design: nothing lost, all or nothing, once, jurisdiction, isolation, traceable."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import openpyxl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.deliver import receipt_folder
from etl.rebuild import rebuild
from etl.run import Only, Progress, approve, reject, run
from etl.site import Site
from etl.store import Store
from etl.trial import check_file
from etl.verify import verify
from etl.watch import Watch
from expectations.faults import MachineFault, SetupFault
from tests.conftest import NOW, site_on
from tests.etl.conftest import CONTRACTS, HEADER, lines, put, run_all
from tests.etl.snapshots import assert_equal, query, snapshot

STEPS = ("archived", "received", "cleared", "judged", "staged", "loaded", "placed", "stored", "reported")
FAULTY = lines(6) + "12,31/02/2020,many,95,A doctor whose name is far too long\n" + "1003,01/02/2020,7,10,X\n" + "2000,01/02/2020,7,10\n"


def test_lines_read_are_lines_loaded_and_lines_rejected(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", FAULTY)
    (done,) = run_all(site).done
    assert (done.state, done.lines_read, done.lines_loaded, done.lines_rejected) == ("stored", 9, 6, 3)
    assert {r["line"] for r in query(site, "SELECT line FROM control.rejection WHERE severity = 'error'")} == {8, 9, 10}


def test_every_row_leads_to_the_line_it_came_from(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", FAULTY)
    (done,) = run_all(site).done
    rows = query(site, "SELECT line, clinic_code FROM national.clinic ORDER BY line")
    archived = site.archive.read_bytes(done.archive_path).decode().splitlines()
    assert all(archived[row["line"] - 1].startswith(row["clinic_code"]) for row in rows)
    assert {r["delivery_id"] for r in query(site, "SELECT delivery_id FROM national.clinic")} == {done.delivery_id}


def test_the_same_bytes_delivered_twice_change_nothing(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5))
    run_all(site)
    before = snapshot(site)
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5))
    again = run_all(site)
    assert (again.done, len(again.unchanged)) == ([], 1)
    assert snapshot(site) == before


def test_a_file_that_cannot_be_attributed_is_entered_once(site: Site) -> None:
    for _ in range(2):
        put(site, "ha-noi/clinic/whatever.csv", lines(5))
        result = run_all(site)
    assert len(result.unchanged) == 1
    assert len(query(site, "SELECT FROM control.delivery")) == 1


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_a_corrected_delivery_replaces_its_partition_and_no_other(site: Site, dataset: str) -> None:
    put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", lines(5, visits=1))
    put(site, f"ha-noi/{dataset}/{dataset}_2025-06.csv", lines(5, visits=2))
    put(site, f"lao-cai/{dataset}/{dataset}_2025-05.csv", lines(5, visits=3))
    run_all(site)
    put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", lines(6, visits=9))
    (done,) = run_all(site).done
    found = query(
        site, f"SELECT province_id, period::text, min(visits) AS low, count(*) AS n FROM national.{dataset} GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert [tuple(r.values()) for r in found] == [
        ("ha-noi", "2025-05-01", 9, 6),
        ("ha-noi", "2025-06-01", 2, 5),
        ("lao-cai", "2025-05-01", 3, 5),
    ]
    states = query(site, "SELECT state FROM control.delivery WHERE delivery_id <> " + str(done.delivery_id))
    assert sorted(r["state"] for r in states) == ["stored", "stored", "superseded"]
    assert all(c.agrees for c in verify(site))


def test_an_older_delivery_never_overwrites_a_newer_one(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-04.csv", lines(10))
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(2, visits=1))
    (_, held) = run_all(site).done
    assert held.state == "held"
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(10, visits=2))
    run_all(site)
    with pytest.raises(SetupFault, match="superseded"):
        approve(site, held.delivery_id, by="x", reason="y", now=NOW)
    assert query(site, "SELECT DISTINCT visits FROM national.clinic WHERE period = '2025-05-01'") == [{"visits": 2}]


def test_a_province_cannot_write_rows_of_another(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_lao-cai_2025-05.csv", lines(5))
    put(site, "ha-noi/clinic/clinic_nowhere_2025-05.csv", lines(5))
    result = run_all(site)
    assert [d.state for d in result.done] == ["returned", "returned"]
    assert query(site, "SELECT FROM national.clinic") == []


def test_a_merged_province_delivers_for_its_predecessor_and_says_so(site: Site) -> None:
    put(site, "gia-lai-2025/clinic/clinic_binh-dinh_2025-06.csv", lines(3))
    put(site, "gia-lai-2025/clinic/clinic_2025-06.csv", lines(4))
    put(site, "binh-dinh/clinic/clinic_2025-07.csv", lines(5))
    states = {d.file_name: d for d in run_all(site).done}
    assert states["clinic_binh-dinh_2025-06.csv"].state == "stored"
    assert states["clinic_binh-dinh_2025-06.csv"].province_id == "binh-dinh"
    assert "binh-dinh, gia-lai" in states["clinic_2025-06.csv"].reasons[0].message.en
    assert states["clinic_2025-07.csv"].state == "returned"


def test_one_bad_file_does_not_delay_another(site: Site) -> None:
    put(site, "an-giang/clinic/clinic_2025-05.csv", b"\x00\xff\xfe garbage")
    put(site, "ba-ria-vung-tau/clinic/clinic_2025-05.csv", "")
    put(site, "nobody/clinic/clinic_2025-05.csv", lines(5))
    put(site, "bac-giang/nothing/clinic_2025-05.csv", lines(5))
    put(site, "bac-kan/clinic/clinic_2099-05.csv", lines(5))
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5))
    result = run_all(site)
    assert {d.sender: d.state for d in result.done} == {
        "an-giang": "returned",
        "ba-ria-vung-tau": "returned",
        "nobody": "returned",
        "bac-giang": "returned",
        "bac-kan": "returned",
        "ha-noi": "stored",
    }
    assert result.trouble == []
    for delivery in result.done:
        folder = receipt_folder(site, delivery)
        assert {p.name for p in folder.iterdir()} == {"receipt.json", "receipt.html", "rejected.csv"}
        assert site.archive.exists(delivery.archive_path)


def test_a_file_still_being_written_waits(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv.part", lines(5))
    put(site, "ha-noi/clinic/.hidden.csv", lines(5))
    put(site, "ha-noi/clinic/~$clinic_2025-05.xlsx", lines(5))
    (site.settings.inbox / "ha-noi/clinic/clinic_2025-05.csv").mkdir()
    result = run_all(site)
    assert (result.done, result.waiting) == ([], ["ha-noi/clinic_2025-05.csv.part"])


def test_a_growing_file_waits_until_it_has_settled(site: Site) -> None:
    slow = Site(replace(site.settings, settle_seconds=0.4))
    slow.__dict__["logins"] = site.logins
    path = put(slow, "ha-noi/clinic/clinic_2025-05.csv", HEADER)
    is_over = threading.Event()

    def write() -> None:
        with path.open("a") as file:
            while not is_over.wait(0.05):
                file.write("1000,01/02/2020,5,10,X\n")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert run_all(slow).waiting == ["ha-noi/clinic_2025-05.csv"]
    finally:
        is_over.set()
        writer.join()
    put(slow, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    assert [d.state for d in run_all(slow).done] == ["stored"]
    slow.warehouse.dispose()


def test_a_link_out_of_the_inbox_is_not_followed(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(lines(5))
    place = site.settings.inbox / "ha-noi/clinic"
    place.mkdir(parents=True)
    (place / "clinic_2025-05.csv").symlink_to(secret)
    assert run_all(site).done == []


def test_more_faults_than_tolerated_return_the_delivery_whole(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(1) + "x,y,z,1,2\n" * 3)
    (done,) = run_all(site).done
    assert (done.state, done.lines_read, done.lines_loaded, done.lines_rejected, done.lines_faulty) == ("returned", 4, 0, 4, 3)
    assert done.reasons[0].rule == "tolerance"


def test_a_missing_required_column_is_the_one_reason(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5).replace("Lượt khám", "So luot"))
    (done,) = run_all(site).done
    assert (done.state, [r.rule for r in done.reasons]) == ("returned", ["header"])
    assert query(site, "SELECT FROM control.rejection") == []


def test_unusual_volume_is_held_and_a_person_decides(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-04.csv", lines(10))
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    put(site, "ha-noi/clinic/clinic_2025-06.csv", lines(40))
    _, small, large = run_all(site).done
    assert [(d.state, d.reasons[0].rule) for d in (small, large)] == [("held", "volume")] * 2
    assert (small.lines_read, small.lines_loaded, small.lines_waiting) == (3, 0, 3)
    approved = approve(site, small.delivery_id, by="Lan", reason="nghỉ lễ", now=NOW)
    rejected = reject(site, large.delivery_id, by="Minh", reason="gửi nhầm", now=NOW)
    assert (approved.state, approved.lines_loaded, rejected.state, rejected.lines_rejected) == ("stored", 3, "returned", 40)
    decided = query(site, "SELECT action, reason, decided_by FROM control.decision ORDER BY delivery_id")
    assert [tuple(d.values()) for d in decided] == [("approve", "nghỉ lễ", "Lan"), ("reject", "gửi nhầm", "Minh")]


def test_a_file_cut_in_the_middle_of_a_line_is_held(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(10)[:-16])
    (done,) = run_all(site).done
    assert (done.state, done.reasons[0].rule) == ("held", "cut")


def test_a_file_without_lines_is_held(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", HEADER)
    (done,) = run_all(site).done
    assert (done.state, done.reasons[0].rule) == ("held", "empty")


def test_values_of_restricted_fields_are_in_the_receipt_and_nowhere_else(site: Site) -> None:
    secret = "Nguyễn Thị Bí Mật Không Ai Được Biết"
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3) + f"1999,01/02/2020,5,10,{secret}\n" + f"1998,01/02/2020,5,{secret}\n")
    (done,) = run_all(site).done
    folder = receipt_folder(site, done)
    assert secret in (folder / "rejected.csv").read_text(encoding="utf-8-sig")
    assert stat.S_IMODE((folder / "rejected.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert secret not in json.dumps(query(site, "SELECT * FROM control.rejection"), default=str)
    assert secret not in json.dumps(query(site, "SELECT * FROM control.delivery"), default=str)
    assert all(secret.encode() not in site.archive.read_bytes(n) for n in site.archive.names("_ledger"))


def test_declared_totals_stand_beside_computed_ones(site: Site) -> None:
    put(site, "bureau/harvest/harvest_2020.csv", "Tỉnh,Lúa\nCả nước,31\nHà Nội,10\nLào Cai,20.5\n")
    (done,) = run_all(site).done
    assert (done.lines_read, done.lines_loaded) == (2, 2)
    (total,) = query(site, "SELECT scope, is_total, measure, declared, computed, difference, ties FROM control.reconciliation")
    assert tuple(total.values()) == ("Cả nước", True, "rice_t", 31.0, 30.5, -0.5, False)


def test_an_unknown_province_is_a_rejection_with_candidates(site: Site) -> None:
    put(site, "bureau/harvest/harvest_2020.csv", "Tỉnh,Lúa\nHà Nôi I,10\nLào Cai,20.5\n")
    (done,) = run_all(site).done
    assert done.state == "returned"
    (rejection,) = query(site, "SELECT rule, message_en FROM control.rejection")
    assert rejection["rule"] == "province"
    assert "Hà Nội" in rejection["message_en"]


def test_the_lake_is_plain_hive_and_names_its_source(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5))
    (done,) = run_all(site).done
    file = Path(site.lake.path("clinic/province_id=ha-noi/period=2025-05-01/part-0.parquet"))
    table = pq.read_table(file, partitioning=None)
    assert "province_id" not in table.column_names
    assert json.loads(table.schema.metadata[b"ndc"])["source_sha256"] == done.sha256
    import pandas as pd

    whole = pd.read_parquet(site.lake.path("clinic"))
    assert set(whole["province_id"]) == {"ha-noi"}


def test_a_trial_stores_nothing_and_agrees_with_the_run(site: Site) -> None:
    path = put(site, "ha-noi/clinic/clinic_2025-05.csv", FAULTY)
    before = snapshot(site)
    (trial,) = check_file(site, path, None, None, None, date(2026, 11, 25))
    assert (trial.verdict.action, trial.judged and trial.judged.read, trial.judged and trial.judged.faulty) == ("load", 9, 3)
    assert snapshot(site) == before
    (done,) = run_all(site).done
    assert (done.lines_read, done.lines_faulty) == (9, 3)


def test_a_run_takes_only_what_is_asked_for(site: Site) -> None:
    for sender in ("ha-noi", "lao-cai"):
        for dataset in ("clinic", "permit"):
            put(site, f"{sender}/{dataset}/{dataset}_2025-05.csv", lines(3))
            put(site, f"{sender}/{dataset}/{dataset}_2025-06.csv", lines(3))
    done = run_all(site, dataset="clinic", province="lao-cai", period="2025-06").done
    assert [(d.dataset, d.sender, d.period) for d in done] == [("clinic", "lao-cai", date(2025, 6, 1))]
    assert len(run_all(site, province="ha-noi").done) == 4


# ---------------------------------------------------------------- formats and several periods


def _as_xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(HEADER.strip().split(","))
    for i in range(5):
        book.active.append([1000 + i, datetime(2020, 2, 1), 5, 10.5, f"Bác sĩ {i}"])
    book.save(path)


def _as_json(path: Path) -> None:
    names = HEADER.strip().split(",")
    path.write_text(json.dumps([dict(zip(names, [f"{1000 + i}", "01/02/2020", 5, 10.5, f"Bác sĩ {i}"], strict=True)) for i in range(5)]))


def _as_parquet(path: Path) -> None:
    names = HEADER.strip().split(",")
    columns = [[f"{1000 + i}" for i in range(5)], [date(2020, 2, 1)] * 5, [5] * 5, [10.5] * 5, [f"Bác sĩ {i}" for i in range(5)]]
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path)


@pytest.mark.parametrize(("suffix", "write"), [("xlsx", _as_xlsx), ("json", _as_json), ("parquet", _as_parquet)])
def test_every_format_gives_the_rows_that_csv_gives(site: Site, suffix: str, write: Callable[[Path], None]) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5))
    path = put(site, f"lao-cai/clinic/clinic_2025-05.{suffix}", b"")
    write(path)
    assert [d.state for d in run_all(site).done] == ["stored", "stored"]
    joined = "national.clinic JOIN personal.clinic USING (province_id, period, line)"
    sql = f"SELECT clinic_code, opened_on, visits, rate_pct, doctor, doctor_pseudonym FROM {joined} WHERE province_id = '{{}}' ORDER BY clinic_code"
    assert query(site, sql.format("lao-cai")) == query(site, sql.format("ha-noi"))


def test_a_workbook_with_a_sheet_for_each_year_is_one_delivery_for_each(site: Site) -> None:
    book = openpyxl.Workbook()
    for year in (2020, 2021):
        sheet = book.create_sheet(str(year))
        sheet.append(["Tỉnh", "Diện tích"])
        sheet.append(["Hà Nội", year])
        sheet.append(["Lào Cai", "?" if year == 2021 else 3])
    path = put(site, "bureau/acreage/acreage.xlsx", b"")
    book.save(path)
    done = run_all(site).done
    assert [(d.period, d.sheet, d.state) for d in done] == [(date(2020, 1, 1), "2020", "stored"), (date(2021, 1, 1), "2021", "returned")]
    assert len({d.archive_path for d in done}) == 1
    assert query(site, "SELECT period::text, sum(area_ha) AS ha FROM national.acreage GROUP BY 1") == [
        {"period": "2020-01-01", "ha": 2023.0}
    ]


def test_a_later_run_of_the_same_workbook_changes_nothing(site: Site) -> None:
    book = openpyxl.Workbook()
    for year in (2020, 2021):
        sheet = book.create_sheet(str(year))
        sheet.append(["Tỉnh", "Diện tích"])
        sheet.append(["Hà Nội", year])
    path = put(site, "bureau/acreage/acreage.xlsx", b"")
    book.save(path)
    content = path.read_bytes()
    run_all(site)
    put(site, "bureau/acreage/acreage.xlsx", content)
    again = run_all(site)
    assert (again.done, len(again.unchanged)) == ([], 2)


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_killed_after_any_step_is_finished_by_the_next(
    new_site: Callable[..., Site], server: object, step: str, dataset: str
) -> None:
    undisturbed, killed = (new_site(contracts=CONTRACTS, name=name) for name in ("undisturbed", "killed"))
    for one in (undisturbed, killed):
        put(one, f"ha-noi/{dataset}/{dataset}_2025-05.csv", lines(4))
        run_all(one)
        put(one, f"ha-noi/{dataset}/{dataset}_2025-05.csv", FAULTY)
        put(one, f"lao-cai/{dataset}/{dataset}_2025-05.csv", lines(3))
    run_all(undisturbed)
    _run_in_a_child_that_dies(killed, server, step)
    run_all(killed)
    assert_equal(snapshot(killed), snapshot(undisturbed))
    assert all(c.agrees for c in verify(killed))


class _Killer(Progress):
    def __init__(self, step: str) -> None:
        self._step = step

    def begin(self, name: str) -> Watch:
        return Watch(on_step=lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == self._step else None)


def _run_in_a_child_that_dies(site: Site, server: object, step: str) -> None:
    database = site.logins._database  # type: ignore[attr-defined]
    site.warehouse.dispose()
    child = os.fork()
    if child == 0:
        try:
            own = site_on(server, database, site.settings)  # type: ignore[arg-type]
            run(own, Only(), lambda: NOW, _Killer(step))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the run ended before the step {step}"


def test_a_lake_file_that_is_lost_before_it_takes_its_place_is_written_again(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(4))
    (done,) = run_all(site).done
    with site.warehouse.transaction() as connection:
        from warehouse import ledger

        ledger.mark(connection, done.delivery_id, "loaded")
    site.lake.delete("clinic/province_id=ha-noi/period=2025-05-01/part-0.parquet")
    run_all(site)
    assert all(c.agrees for c in verify(site))


# ---------------------------------------------------------------- verify and rebuild


def test_verify_finds_a_changed_row_a_missing_file_and_a_stranger(site: Site) -> None:
    for sender in ("ha-noi", "lao-cai", "son-la"):
        put(site, f"{sender}/clinic/clinic_2025-05.csv", lines(3))
    run_all(site)
    assert [c.agrees for c in verify(site)] == [True, True, True]
    query_changes = "INSERT INTO national.clinic SELECT province_id, period, delivery_id, line + 100, 'zzzz' FROM national.clinic WHERE province_id = 'ha-noi' AND line = 2 RETURNING line"
    query(site, query_changes)
    site.lake.delete("clinic/province_id=lao-cai/period=2025-05-01/part-0.parquet")
    site.lake.put_bytes("clinic/province_id=son-la/period=2025-06-01/part-0.parquet", b"stranger")
    differ = [c.partition for c in verify(site) if not c.agrees]
    assert differ == ["clinic/ha-noi/2025-05-01", "clinic/lao-cai/2025-05-01", "clinic/province_id=son-la/period=2025-06-01/part-0.parquet"]


def test_warehouse_and_lake_are_rebuilt_equal_from_archive_and_ledger(new_site: Callable[..., Site]) -> None:
    original = new_site(contracts=CONTRACTS, name="original")
    put(original, "ha-noi/clinic/clinic_2025-04.csv", lines(10))
    put(original, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    put(original, "ha-noi/clinic/clinic_2025-06.csv", lines(40))
    put(original, "ha-noi/permit/permit_2025-06.csv", FAULTY)
    put(original, "lao-cai/permit/nonsense.csv", "1,2\n3,4\n")
    put(original, "bureau/harvest/harvest_2020.csv", "Tỉnh,Lúa\nCả nước,31\nHà Nội,10\n")
    run_all(original)
    put(original, "ha-noi/clinic/clinic_2025-04.csv", lines(11))
    run_all(original)
    held = query(original, "SELECT delivery_id FROM control.delivery WHERE state = 'held' ORDER BY 1")
    approve(original, held[0]["delivery_id"], by="Lan", reason="ok", now=NOW)
    rebuilt = new_site(contracts=CONTRACTS, name="rebuilt")
    assert rebuild(rebuilt, Store(original.settings.archive), NOW) == 7
    before, after = snapshot(original), snapshot(rebuilt)
    before["inbox"] = after["inbox"] = []
    assert_equal(after, before)
    assert all(c.agrees for c in verify(rebuilt))
    with pytest.raises(SetupFault, match="empty home"):
        rebuild(rebuilt, Store(original.settings.archive), NOW)


# ---------------------------------------------------------------- two at once, and a server that goes away


def test_two_runs_at_once_deliver_each_file_once(new_site: Callable[..., Site], server: object) -> None:
    one = new_site(contracts=CONTRACTS)
    other = site_on(server, one.logins._database, one.settings)  # type: ignore[arg-type, attr-defined]
    for sender in ("ha-noi", "lao-cai", "son-la", "lai-chau"):
        put(one, f"{sender}/permit/permit_2025-05.csv", lines(30))
    one.warehouse.dispose()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = len(run_all(other).trouble)
        finally:
            os._exit(status)
    assert run_all(one).trouble == []
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [r["state"] for r in query(one, "SELECT state FROM control.delivery")] == ["stored"] * 4
    assert all(c.agrees for c in verify(one))


def test_a_connection_lost_in_the_middle_is_a_fault_of_the_machine_and_the_next_run_finishes(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))

    class Cutter(Progress):
        def begin(self, name: str) -> Watch:
            return Watch(on_step=lambda step: cut() if step == "judged" else None)

    def cut() -> None:
        admin = site.logins._server.superuser_url("postgres")  # type: ignore[attr-defined]
        with psycopg.connect(admin.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ndc_service' AND datname = %s",
                [site.logins._database],
            )  # type: ignore[attr-defined]

    with pytest.raises(MachineFault, match="does not answer"):
        run(site, Only(), lambda: NOW, Cutter())
    assert [d.state for d in run_all(site).done] == ["stored"]


# ---------------------------------------------------------------- what was once wrong


def test_a_zero_byte_in_a_refused_cell_stops_nothing(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5) + "1090,01/02/2020,\x00x,10,X\n")
    result = run_all(site)
    assert ([d.state for d in result.done], result.trouble) == (["stored"], [])


def test_a_file_put_in_the_place_of_one_that_is_received_is_not_lost(site: Site) -> None:
    path = put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))

    class Replacer(Progress):
        def begin(self, name: str) -> Watch:
            return Watch(on_step=lambda step: exchange() if step == "received" else None)

    def exchange() -> None:
        other = path.with_suffix(".part")
        other.write_text(lines(4))
        other.replace(path)

    run(site, Only(), lambda: NOW, Replacer())
    assert [d.lines_loaded for d in run_all(site).done] == [4]


def test_an_older_delivery_that_is_judged_late_is_superseded(site: Site) -> None:
    from etl.deliver import deliver
    from etl.receive import attribute, receive

    received = []
    for count in (3, 4):
        path = put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(count))
        found = attribute(path, "ha-noi", "clinic", site, NOW.date())
        received.append(receive(path, path.name, "ha-noi", found, site, NOW).new[0])
        path.unlink()
    assert deliver(site, received[1], NOW).state == "stored"
    assert deliver(site, received[0], NOW).state == "superseded"
    assert query(site, "SELECT count(*) AS n FROM national.clinic") == [{"n": 4}]


def test_a_period_before_the_registry_is_returned_with_a_receipt(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_1990-01.csv", lines(3))
    put(site, "bureau/harvest/harvest_1990.csv", "Tỉnh,Lúa\nHà Nội,10\n")
    result = run_all(site)
    assert ([d.state for d in result.done], result.trouble) == (["returned", "returned"], [])


def test_the_same_bytes_for_a_period_that_is_refused_are_entered_once(site: Site) -> None:
    for _ in range(2):
        put(site, "ha-noi/clinic/clinic_2099-05.csv", lines(3))
        result = run_all(site)
    assert (result.done, len(result.unchanged)) == ([], 1)


def test_a_sender_is_a_name_and_no_path(site: Site, tmp_path: Path) -> None:
    from etl.run import deliver_file

    (tmp_path / "clinic_2025-05.csv").write_text(lines(3))
    for sender in ("ha-noi/x", "..", ""):
        with pytest.raises(SetupFault, match="no name of a sender"):
            deliver_file(site, tmp_path / "clinic_2025-05.csv", sender, None, None, NOW)
    assert query(site, "SELECT FROM control.delivery") == []


def test_a_damaged_lake_file_is_a_difference(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    run_all(site)
    site.lake.put_bytes("clinic/province_id=ha-noi/period=2025-05-01/part-0.parquet", b"PAR1 damaged")
    assert [c.agrees for c in verify(site)] == [False]
