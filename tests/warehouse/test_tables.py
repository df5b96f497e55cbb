"""A dataset's table follows its contract; what would lose data is refused; nobody sees rows by accident."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import text

from etl.site import Site
from expectations.contract import Contract
from expectations.faults import SetupFault
from expectations.odcs import load_contract, parse_contract
from expectations.period import Period
from tests.etl.conftest import CONTRACTS, lines, put, run_all
from tests.etl.snapshots import query
from warehouse.engine import check_version_number
from warehouse.migrate import check_migrated, make_plan, migrate
from warehouse.tables import part_name

DOCTOR = """      - name: doctor
        businessName: Bác sĩ
        logicalType: string
        classification: restricted
        logicalTypeOptions: {maxLength: 20}
        customProperties: [{property: pseudonym, value: true}, {property: mask, value: {keepLast: 2}}]
"""
OPEN_DOCTOR = "      - {name: doctor, businessName: Bác sĩ, logicalType: string, logicalTypeOptions: {maxLength: 20}}\n"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


def changed(name: str, *replacements: tuple[str, str]) -> dict[str, Contract]:
    """The tests' contracts, one of them with some of its text replaced."""
    contracts = {file.name.split(".")[0]: load_contract(file) for file in sorted(CONTRACTS.glob("*.yaml"))}
    body = contracts[name].text
    for old, new in replacements:
        assert old in body
        body = body.replace(old, new)
    contracts[name] = parse_contract(body, contracts[name].file)
    return contracts


def test_a_migrated_warehouse_needs_nothing(site: Site) -> None:
    assert make_plan(site.warehouse, site.contracts, site.registry, site.access).is_empty


@pytest.mark.parametrize("dataset", ["clinic", "permit", "harvest"])
def test_columns_types_and_comments_follow_the_contract(site: Site, dataset: str) -> None:
    rows = query(
        site,
        "SELECT attname, format_type(atttypid, atttypmod) AS kind, attnotnull AS required, col_description(attrelid, attnum) AS said "
        f"FROM pg_attribute WHERE attrelid = 'national.{dataset}'::regclass AND attnum > 0",
    )
    found = {r["attname"]: (r["kind"], r["required"]) for r in rows}
    own = {
        f"{dataset}_code": ("text", True),
        "opened_on": ("date", False),
        "visits": ("bigint", False),
        "rate_pct": ("double precision", False),
    }
    expected = {"rice_t": ("double precision", False)} if dataset == "harvest" else own
    assert all(r["said"] for r in rows)
    assert expected.items() <= found.items()
    assert [found[n] for n in ("province_id", "period", "delivery_id", "line")] == [
        ("text", True),
        ("date", True),
        ("bigint", True),
        ("integer", True),
    ]


@pytest.mark.parametrize("name", ["clinic", "permit"])
def test_a_new_field_and_a_wider_type_are_applied_and_keep_the_rows(site: Site, name: str) -> None:
    put(site, f"ha-noi/{name}/{name}_2025-05.csv", lines(3))
    run_all(site)
    contracts = changed(
        name,
        ("logicalType: integer", "logicalType: number"),
        ("      - name: rate_pct", "      - {name: beds, businessName: Giường, logicalType: integer}\n      - name: rate_pct"),
    )
    planned = make_plan(site.warehouse, contracts, site.registry, site.access)
    assert {c.message.en for c in planned.tables} >= {
        f"{name}: add the column beds (bigint)",
        f"{name}: widen visits: bigint → double precision",
    }
    with pytest.raises(SetupFault, match="ndc migrate"), site.warehouse.transaction() as connection:
        check_migrated(connection, contracts)
    migrate(site.warehouse, contracts, site.registry, site.access)
    assert query(site, f"SELECT visits, beds FROM national.{name}") == [{"visits": 5.0, "beds": None}] * 3
    assert make_plan(site.warehouse, contracts, site.registry, site.access).is_empty


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("clinic", DOCTOR, "", "field 'doctor' is gone"),
        ("clinic", DOCTOR, DOCTOR.replace("name: doctor", "name: medic"), "field 'doctor' is gone"),
        ("permit", DOCTOR, OPEN_DOCTOR, "doctor would have to move"),
        ("clinic", "name: rate_pct\n", "name: rate_pct\n        classification: restricted\n", "rate_pct would have to move"),
        ("harvest", "logicalType: number", "logicalType: integer", "cannot become bigint without losing data"),
        ("clinic", "primaryKey: true, primaryKeyPosition: 1, ", "", "primary key differs"),
        ("permit", "  - {property: storage, value: leaves}\n", "", "held as 'leaves'"),
        ("clinic", "  - {property: tolerance", "  - {property: storage, value: leaves}\n  - {property: tolerance", "held as 'list'"),
    ],
)  # fmt: skip
def test_what_would_lose_data_is_refused_by_name(site: Site, name: str, old: str, new: str, said: str) -> None:
    put(site, "ha-noi/permit/permit_2025-05.csv", lines(3))
    run_all(site)
    with pytest.raises(SetupFault, match=said) as caught:
        migrate(site.warehouse, changed(name, (old, new)), site.registry, site.access)
    assert f"{name}.odcs.yaml" in str(caught.value)


def test_a_long_partition_name_is_cut_and_stays_unique() -> None:
    parts = ["d" * length for length in range(25, 60)]
    names = {part_name(n, p, Period(m, "month")) for n in parts for p in ("ba-ria-vung-tau", "ba-ria-vung-tay") for m in (_day(1), _day(2))}
    assert len(names) == 4 * len(parts)
    assert all(len(f"{name}+".encode()) <= 63 for name in names)  # a stage has the name of its leaf and a mark


def _day(month: int):  # type: ignore[no-untyped-def]
    from datetime import date

    return date(2025, month, 1)


# ---------------------------------------------------------------- who sees what, before any delegation


def _analyst(site: Site) -> psycopg.Connection[tuple[object, ...]]:
    address = site.logins.analyst_url().set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


def _refused(connection: psycopg.Connection[tuple[object, ...]], sql: str) -> bool:
    try:
        connection.execute(sql.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


@pytest.fixture
def filled(site: Site) -> Site:
    for dataset in ("clinic", "permit"):
        for sender in ("ha-noi", "lao-cai"):
            put(site, f"{sender}/{dataset}/{dataset}_2025-05.csv", lines(3))
    run_all(site)
    return site


@pytest.mark.parametrize("dataset", ["clinic", "permit"])
def test_an_analyst_reads_every_row_but_no_restricted_column_and_writes_nothing(filled: Site, dataset: str) -> None:
    with _analyst(filled) as connection:
        shown = connection.execute(f"SELECT * FROM national.{dataset}".encode()).fetchall()
        assert len(shown) == 6
        assert "Bác sĩ" not in str(shown) and {row[-1] for row in shown} == {"*** 0", "*** 1", "*** 2"}
        for sql in (
            f"SELECT doctor FROM personal.{dataset}",
            f"SELECT count(*) FROM personal.{dataset}",
            f"SELECT visits FROM national.{dataset}_in_clear",
            f'SELECT * FROM parts."{dataset}@ha-noi"',
            f'SELECT * FROM parts."{dataset}.personal@ha-noi"',
            f"DELETE FROM national.{dataset}",
            f"UPDATE national.{dataset} SET visits = 0",
            f"TRUNCATE national.{dataset}",
            f"INSERT INTO national.{dataset} (province_id) VALUES ('x')",
            "SELECT value FROM control.rejection",
            "SET ROLE ndc_loader",
            "SET ROLE ndc_owner",
            "CREATE TABLE public.mine (a int)",
        ):
            assert _refused(connection, sql), sql


def test_row_security_is_on_and_forced_on_every_table_that_holds_rows(filled: Site) -> None:
    bare = query(
        filled,
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('national', 'personal', 'parts') AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    )
    assert bare == []


def test_the_owner_sees_no_row_and_the_loader_sees_all(filled: Site) -> None:
    counted = {}
    for role in ("ndc_owner", "ndc_loader"):
        with filled.warehouse.transaction(role) as connection:  # type: ignore[arg-type]
            counted[role] = connection.execute(text("SELECT count(*) FROM national.clinic")).scalar()
    assert counted == {"ndc_owner": 0, "ndc_loader": 6}


def test_no_login_of_the_pipeline_is_a_superuser_or_inherits_the_owner(filled: Site) -> None:
    rows = query(
        filled, "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname LIKE 'ndc\\_%' AND rolname <> 'ndc_admin'"
    )
    assert rows
    assert not any(r["rolsuper"] or r["rolbypassrls"] or r["rolcreatedb"] for r in rows)
    inheriting = query(
        filled,
        "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE m.roleid = 'ndc_owner'::regrole AND m.inherit_option",
    )
    assert [r["rolname"] for r in inheriting] in ([], ["ndc_admin"])


@pytest.mark.parametrize(
    ("number", "is_safe"),
    [(140_012, False), (150_013, False), (150_014, True), (160_009, False), (160_010, True), (170_005, False), (180_000, True)],
)
def test_servers_with_holes_in_row_security_are_refused(number: int, is_safe: bool) -> None:
    if is_safe:
        check_version_number(number)
    else:
        with pytest.raises(SetupFault, match=r"15\.14, 16\.10, 17\.6"):
            check_version_number(number)


def test_every_table_and_column_is_commented_in_both_languages(site: Site) -> None:
    with site.warehouse.transaction("ndc_owner") as connection:
        bare = connection.execute(
            text(
                "SELECT c.oid::regclass::text || coalesce('.' || a.attname, '') FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
                "AND NOT a.attisdropped WHERE c.relnamespace::regnamespace::text IN ('national', 'personal', 'control') AND c.relkind IN ('r', 'p', 'v') "
                "AND c.relname <> 'migration' AND (coalesce(col_description(c.oid, a.attnum), '') !~ ' · ' OR coalesce(obj_description(c.oid, 'pg_class'), '') !~ ' · ')"
            )
        ).scalars()
        assert list(bare) == []
