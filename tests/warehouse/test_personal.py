"""Restricted fields lie in a table of their own: row for row beside the main one, and changed with it or not at all."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from etl.rebuild import rebuild
from etl.site import Site
from etl.store import Store
from etl.verify import verify
from expectations.contract import Contract
from expectations.faults import MachineFault, SetupFault
from expectations.odcs import load_contracts
from tests.conftest import NOW
from tests.etl.conftest import CONTRACTS, lines, put, run_all
from tests.etl.snapshots import query
from tests.warehouse.access_site import new_person, rows_as, write_access
from tests.warehouse.test_tables import DOCTOR, OPEN_DOCTOR
from warehouse.figures import national_figures
from warehouse.migrate import make_plan, migrate
from warehouse.tables import check_fields, create_view, dataset_table, dataset_tables, personal_table, view_columns

COMMUNE = """      - name: commune_code
        businessName: Mã xã
        logicalType: string
"""
CODES = "        customProperties: [{property: codeList, value: communes}]\n"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders with the tests' contracts, some of their text replaced."""
    made = iter(range(100))

    def make(*replacements: tuple[str, str, str]) -> Path:
        folder = tmp_path / f"contracts{next(made)}"
        shutil.copytree(CONTRACTS, folder)
        for name, old, new in replacements:
            file = folder / f"{name}.odcs.yaml"
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))
        return folder

    return make


def later(site: Site, contracts: Path) -> Site:
    """The same installation with other contracts, not yet migrated."""
    other = Site(replace(site.settings, contracts=contracts))
    other.__dict__.update(logins=site.logins, warehouse=site.warehouse)
    return other


def bring_up(site: Site) -> list[str]:
    planned = migrate(site.warehouse, site.contracts, site.registry, site.access)
    assert make_plan(site.warehouse, site.contracts, site.registry, site.access).is_empty
    return [change.message.en for change in planned.tables]


def filled(site: Site) -> Site:
    for dataset in ("clinic", "permit"):
        for sender in ("ha-noi", "lao-cai"):
            put(site, f"{sender}/{dataset}/{dataset}_2025-05.csv", lines(3))
    assert run_all(site).trouble == []
    return site


# ---------------------------------------------------------------- shape


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_restricted_values_are_in_the_personal_table_alone(site: Site, dataset: str) -> None:
    filled(site)
    main = query(site, f"SELECT * FROM national.{dataset}")
    assert "doctor" not in main[0] and "Bác sĩ" not in str(main)
    rows = query(
        site, f"SELECT m.line, doctor FROM national.{dataset} m JOIN personal.{dataset} USING (province_id, period, line, delivery_id)"
    )
    assert sorted((row["line"], row["doctor"]) for row in rows) == sorted(2 * [(2 + i, f"Bác sĩ {i}") for i in range(3)])
    assert list(query(site, f"SELECT * FROM personal.{dataset}")[0]) == ["province_id", "period", "delivery_id", "line", "doctor"]


def test_the_view_has_the_contracts_order_both_languages_and_its_readers_rights(site: Site) -> None:
    rows = query(
        site,
        "SELECT attname, col_description(attrelid, attnum) AS said, c.reloptions, obj_description(c.oid, 'pg_class') AS whole FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid WHERE a.attrelid = 'national.clinic_in_clear'::regclass AND attnum > 0 ORDER BY attnum",
    )
    names = [row["attname"] for row in rows]
    assert names[4:] == ["clinic_code", "opened_on", "visits", "rate_pct", "doctor", "doctor_pseudonym", "doctor_masked"]
    assert all(" · " in row["said"] for row in rows)
    assert rows[0]["reloptions"] == ["security_invoker=true"] and " · " in rows[0]["whole"]


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_a_row_has_one_personal_row(site: Site, dataset: str) -> None:
    filled(site)
    with pytest.raises(Exception, match="duplicate key") as caught, site.warehouse.transaction() as connection:
        connection.execute(text(f"INSERT INTO personal.{dataset} SELECT * FROM personal.{dataset} LIMIT 1"))
    assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)


def test_a_restricted_key_is_in_no_index_that_everybody_reads(variant: Callable[..., Path]) -> None:
    contract = load_contracts(variant(("clinic", "primaryKeyPosition: 1, ", "primaryKeyPosition: 1, classification: restricted, ")))[
        "clinic"
    ]
    main, personal = dataset_tables(contract)
    assert (main.key, personal.key) == ((), ("province_id", "period", "line"))
    assert "clinic_code" not in {c.name for c in main.columns}
    assert {c.name: c.is_required for c in personal.columns}["clinic_code"]


def test_the_personal_table_repeats_the_commune_by_which_rows_are_delegated(variant: Callable[..., Path]) -> None:
    contract = load_contracts(variant(("clinic", DOCTOR, COMMUNE + CODES + DOCTOR)))["clinic"]
    personal = personal_table(contract)
    assert personal and [c.name for c in personal.columns][4:] == ["commune_code", "doctor"]
    assert 'm."commune_code"' in create_view(contract)
    assert len(view_columns(contract)) == len({c.name for c in view_columns(contract)})


def test_a_central_datasets_restricted_fields_are_loaded_compared_and_added_up(
    new_site: Callable[..., Site], variant: Callable[..., Path]
) -> None:
    site = new_site(contracts=variant(("harvest", "logicalType: number\n", "logicalType: number\n        classification: restricted\n")))
    put(site, "bureau/harvest/harvest_2020.csv", "Tỉnh,Lúa\nCả nước,30.5\nHà Nội,10\nLào Cai,20.5\n")
    assert [d.state for d in run_all(site).done] == ["stored"]
    assert "rice_t" not in query(site, "SELECT * FROM national.harvest")[0]
    assert query(site, "SELECT sum(rice_t) AS t FROM personal.harvest") == [{"t": 30.5}]
    assert all(c.agrees for c in verify(site))
    with site.warehouse.transaction() as connection:
        (figure,) = national_figures(connection, site.contracts["harvest"])
    assert (figure.computed, figure.declared, figure.ties) == (30.5, 30.5, True)


def test_totals_of_a_restricted_field_are_reconciled_across_datasets(new_site: Callable[..., Site], variant: Callable[..., Path]) -> None:
    link = "  - {property: reconciles, value: {dataset: clinic, by: {doctor: doctor}, measures: {visits: visits}}}\n"
    folder = variant(("permit", "  - {property: sender", f"{link}  - {{property: sender"))
    site = new_site(contracts=folder)
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    put(site, "ha-noi/permit/permit_2025-05.csv", lines(3, visits=5))
    assert run_all(site).trouble == []
    rows = query(site, "SELECT declared, computed, ties FROM control.reconciliation WHERE target = 'clinic'")
    assert rows == [{"declared": 5.0, "computed": 5.0, "ties": True}] * 3


def test_a_province_sees_its_own_rows_in_clear_and_its_neighbours_without(new_site: Callable[..., Site], tmp_path: Path) -> None:
    """What no grant of columns on one table can say."""
    neighbour = (
        "  - {id: neighbour, grantee: ha-noi, provinces: [lao-cai], datasets: [clinic, permit], columns: {in_clear: none}, from: 2024-08-08,"
        " purpose: p, legal_basis: l}\n"
    )
    site = filled(new_site(contracts=CONTRACTS, access=write_access(tmp_path / "access", neighbour)))
    person = new_person(site, "ha-noi")
    for dataset in ("clinic", "permit"):
        main = rows_as(person, f"SELECT province_id, doctor_masked FROM national.{dataset} ORDER BY 1, 2")
        assert main == [(province, f"*** {i}") for province in ("ha-noi", "lao-cai") for i in range(3)]
        assert rows_as(person, f"SELECT DISTINCT province_id FROM personal.{dataset}") == [("ha-noi",)]
        whole = rows_as(person, f"SELECT province_id, visits, doctor FROM national.{dataset}_in_clear ORDER BY 3")
        assert whole == [("ha-noi", 5, f"Bác sĩ {i}") for i in range(3)]


# ---------------------------------------------------------------- both or none


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_a_reader_of_both_tables_sees_one_delivery_of_both(site: Site, dataset: str) -> None:
    seen: set[tuple[Any, ...]] = set()
    is_over = threading.Event()

    def read(order: tuple[str, str]) -> None:
        joined = f"{order[0]}.{dataset} a JOIN {order[1]}.{dataset} b USING (province_id, period, line, delivery_id)"
        with site.warehouse.engine.connect() as connection:
            connection.execute(text("SET ROLE ndc_loader"))
            connection.commit()
            while not is_over.is_set():
                found = connection.execute(text(f"SELECT count(*), bool_and(doctor = 'Bác sĩ ' || visits) FROM {joined}")).one()
                connection.commit()
                seen.add(tuple(found))

    def name_by_visits(visits: int) -> str:
        return "".join(f"{1000 + i:04d},01/02/2020,{visits},10.5,Bác sĩ {visits}\n" for i in range(40))

    header = lines(0)
    put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", header + name_by_visits(1))
    run_all(site)
    readers = [threading.Thread(target=read, args=(order,)) for order in (("national", "personal"), ("personal", "national"))]
    for reader in readers:
        reader.start()
    for visits in range(2, 10):
        put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", header + name_by_visits(visits))
        assert run_all(site).trouble == []
    is_over.set()
    for reader in readers:
        reader.join()
    assert seen == {(40, True)}


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_a_reader_of_either_table_delays_the_swap_of_both(site: Site, dataset: str) -> None:
    """While one table's old leaf is being read, the other one still shows its old rows, and nobody waits for it."""
    filled(site)
    with site.warehouse.engine.connect() as reader, site.warehouse.engine.connect() as other:
        for connection in (reader, other):
            connection.execute(text("SET ROLE ndc_loader"))
            connection.commit()
        reader.execute(text(f"SELECT count(*) FROM personal.{dataset} WHERE province_id = 'ha-noi'"))
        put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", lines(3, visits=9))
        worker = threading.Thread(target=run_all, args=(site,))
        worker.start()
        worker.join(2)
        if dataset == "permit":
            assert worker.is_alive()
            other.execute(text("SET statement_timeout = '3s'"))
            assert other.execute(text(f"SELECT min(visits) FROM national.{dataset} WHERE province_id = 'ha-noi'")).scalar() == 5
            other.commit()
        reader.commit()
        worker.join(30)
    assert query(site, f"SELECT DISTINCT visits FROM national.{dataset} WHERE province_id = 'ha-noi'") == [{"visits": 9}]


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_a_waiting_lake_file_that_lacks_rows_loads_nothing(site: Site, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from etl import deliver

    put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", lines(3))
    with monkeypatch.context() as patch, pytest.raises(MachineFault, match="0 lines instead of 3"):
        patch.setattr(deliver, "read_rows", lambda *_: iter(()))
        run_all(site)
    assert query(site, f"SELECT FROM national.{dataset}") == []
    assert run_all(site).trouble == []
    assert all(c.agrees for c in verify(site))


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM personal.clinic WHERE province_id = 'ha-noi' AND line = 2",
        "DELETE FROM personal.clinic WHERE province_id = 'ha-noi' AND line = 5",
        "DELETE FROM national.clinic WHERE province_id = 'ha-noi' AND line = 2",
        "INSERT INTO personal.clinic SELECT province_id, period, delivery_id, 99, doctor FROM personal.clinic WHERE province_id = 'ha-noi' AND line = 2",
    ],
)
def test_verify_finds_a_row_that_is_in_one_table_only(site: Site, change: str) -> None:
    """Also a row whose restricted fields are all empty, as on line 5."""
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3) + "1999,01/02/2020,5,10,\n")
    put(site, "lao-cai/clinic/clinic_2025-05.csv", lines(3))
    run_all(site)
    assert all(c.agrees for c in verify(site))
    with site.warehouse.transaction() as connection:
        assert connection.execute(text(change)).rowcount == 1
    assert [c.partition for c in verify(site) if not c.agrees] == ["clinic/ha-noi/2025-05-01"]


def test_verify_finds_a_changed_personal_value(site: Site) -> None:
    filled(site)
    with site.warehouse.transaction() as connection:
        connection.execute(text("DELETE FROM personal.permit WHERE line = 2 AND province_id = 'ha-noi'"))
        connection.execute(
            text(
                "INSERT INTO personal.permit SELECT province_id, period, delivery_id, line, 'somebody else' FROM national.permit "
                "WHERE line = 2 AND province_id = 'ha-noi'"
            )
        )
    assert [c.partition for c in verify(site) if not c.agrees] == ["permit/ha-noi/2025-05-01"]


# ---------------------------------------------------------------- contracts that change


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_restricted_fields_are_added_and_widened_and_the_view_is_made_again(site: Site, variant: Callable[..., Path], dataset: str) -> None:
    filled(site)
    born = "      - {name: born_on, businessName: Ngày sinh, logicalType: date, classification: restricted}\n"
    first = later(site, variant((dataset, DOCTOR, born + DOCTOR)))
    assert f"personal.{dataset}: add the column born_on (date)" in bring_up(first)
    second = later(site, variant((dataset, DOCTOR, born.replace("logicalType: date", "logicalType: string") + DOCTOR)))
    assert f"personal.{dataset}: widen born_on: date → text" in bring_up(second)
    names = query(
        site, f"SELECT attname FROM pg_attribute WHERE attrelid = 'national.{dataset}_in_clear'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [row["attname"] for row in names][-5:] == ["rate_pct", "born_on", "doctor", "doctor_pseudonym", "doctor_masked"]
    assert query(site, f"SELECT count(*) AS n FROM personal.{dataset} WHERE doctor IS NOT NULL") == [{"n": 6}]


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_a_commune_field_is_repeated_for_the_rows_that_are_there(
    new_site: Callable[..., Site], variant: Callable[..., Path], dataset: str
) -> None:
    site = new_site(contracts=variant((dataset, DOCTOR, COMMUNE + DOCTOR)))
    head, *rest = lines(3).replace("Bác sĩ\n", "Bác sĩ,Mã xã\n").splitlines()
    put(site, f"ha-noi/{dataset}/{dataset}_2025-05.csv", "\n".join([head, *(f"{line},0000{i}" for i, line in enumerate(rest))]) + "\n")
    run_all(site)
    bring_up(later(site, variant((dataset, DOCTOR, COMMUNE + CODES + DOCTOR))))
    codes = query(site, f"SELECT line, commune_code FROM personal.{dataset} ORDER BY 1")
    assert [row["commune_code"] for row in codes] == ["00000", "00001", "00002"]
    assert codes == query(site, f"SELECT line, commune_code FROM national.{dataset} ORDER BY 1")


def test_the_loader_may_not_change_what_a_migration_filled(site: Site, variant: Callable[..., Path]) -> None:
    filled(site)
    assert "clinic: doctor_masked: compute it for the rows that are there" in bring_up(
        later(site, variant(("clinic", "keepLast: 2", "keepFirst: 1")))
    )
    assert query(site, "SELECT DISTINCT doctor_masked FROM national.clinic") == [{"doctor_masked": "B***"}]
    with pytest.raises(Exception, match="permission denied"), site.warehouse.transaction() as connection:
        connection.execute(text("UPDATE national.clinic SET doctor_masked = 'x'"))


def test_a_first_restricted_field_of_a_dataset_with_rows_needs_a_rebuild(
    new_site: Callable[..., Site], variant: Callable[..., Path]
) -> None:
    without = variant(("clinic", DOCTOR, ""), ("permit", DOCTOR, ""))
    site = new_site(contracts=without)
    bring_up(later(site, CONTRACTS))  # no rows yet: nothing is lost
    site = new_site(contracts=without, name="filled")
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3))
    run_all(site)
    with pytest.raises(SetupFault, match="ndc rebuild --archive") as caught:
        bring_up(later(site, CONTRACTS))
    assert caught.value.rule == "would-lose-data"


def test_a_warehouse_of_the_earlier_version_is_refused_with_the_way_out(site: Site) -> None:
    filled(site)
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        connection.execute(text("DROP VIEW national.clinic_in_clear"))
        connection.execute(text("DROP TABLE personal.clinic"))
        connection.execute(
            text("ALTER TABLE national.clinic DROP COLUMN doctor_pseudonym, DROP COLUMN doctor_masked, ADD COLUMN doctor text")
        )
    admin.dispose()
    with pytest.raises(SetupFault, match="doctor would have to move") as caught:
        make_plan(site.warehouse, site.contracts, site.registry, site.access)
    assert "ndc rebuild --archive" in caught.value.message.en and "ndc rebuild --archive" in caught.value.message.vi


def test_somebodys_view_in_the_way_of_a_change_is_named(site: Site, variant: Callable[..., Path]) -> None:
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        connection.execute(text("CREATE VIEW public.mine AS SELECT visits FROM national.clinic_in_clear"))
    admin.dispose()
    born = "      - {name: born_on, businessName: Ngày sinh, logicalType: date, classification: restricted}\n"
    with pytest.raises(SetupFault, match=r"public\.mine; drop them") as caught:
        bring_up(later(site, variant(("clinic", DOCTOR, born + DOCTOR))))
    assert caught.value.rule == "in-use"


# ---------------------------------------------------------------- rebuild


def rebuilt(original: Site, new_site: Callable[..., Site], contracts: Path) -> Site:
    site = new_site(contracts=contracts, name="rebuilt")
    rebuild(site, Store(original.settings.archive), NOW)
    assert all(c.agrees for c in verify(site))
    return site


@pytest.mark.parametrize(("then", "today"), [(OPEN_DOCTOR, DOCTOR), (DOCTOR, OPEN_DOCTOR), ("", DOCTOR)])
def test_a_rebuild_puts_every_field_where_todays_contract_has_it(
    new_site: Callable[..., Site], variant: Callable[..., Path], then: str, today: str
) -> None:
    original = new_site(contracts=variant(("clinic", DOCTOR, then), ("permit", DOCTOR, then)), name="original")
    filled(original)
    put(original, "son-la/clinic/clinic_2025-05.csv", lines(3) + "12,,5,1,A doctor whose name is far too long\n")
    run_all(original)
    site = rebuilt(original, new_site, variant(("clinic", DOCTOR, today), ("permit", DOCTOR, today)))
    for dataset, count in (("clinic", 9), ("permit", 6)):
        place = "personal" if today == DOCTOR else "national"
        assert query(site, f"SELECT count(*) AS n, count(doctor) AS filled FROM {place}.{dataset}") == [
            {"n": count, "filled": count if then else 0}
        ]
        assert query(site, f"SELECT count(*) AS n FROM national.{dataset}") == [{"n": count}]
    if (then, today) == (OPEN_DOCTOR, DOCTOR):
        read = "SELECT value FROM control.rejection WHERE field = 'doctor'"
        assert [row["value"] is None for row in query(original, read) + query(site, read)] == [False, True]


def test_an_older_contract_whose_field_has_no_place_is_a_fault() -> None:
    contracts = load_contracts(CONTRACTS)
    older = contracts["clinic"]
    today = replace(older, fields=tuple(f for f in older.fields if f.name != "opened_on"))
    check_fields(dataset_tables(older), today)
    with pytest.raises(SetupFault, match="ndc migrate"):
        check_fields(dataset_tables(today), older)


def test_a_dataset_without_restricted_fields_has_one_table(site: Site) -> None:
    contract: Contract = site.contracts["harvest"]
    assert dataset_tables(contract) == (dataset_table(contract),)
    assert query(site, "SELECT to_regclass('personal.harvest') AS t, to_regclass('national.harvest_in_clear') AS v") == [
        {"t": None, "v": None}
    ]
