"""The known ways in which row security fails: each is shut here, and each test shows the leak that there is without the guard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from etl.site import Site
from tests.etl.conftest import CONTRACTS, lines, put, run_all
from tests.warehouse.access.world import HERE, OWN, PERIODS, World, declare
from warehouse.embedded import Server
from warehouse.engine import run_script

NORTH, SOUTH = "ndc_province_north", "ndc_province_south"
VISITS = "SELECT province_id, count(*) FROM national.visit GROUP BY 1 ORDER BY 1"
ALL = [("east", 9), ("north", 9), ("south", 9), ("union", 9), ("west", 9)]
MINE = [("north", 9)]


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Own rows for each province, and people of two of them; no test leaves a trace."""
    world = World.made_on(server, "pitfalls", tmp_path_factory.mktemp("pitfalls"), OWN)
    for group in ("north", "south", "east", "west", "union", "clinic"):
        world.add_person(group, login=f"q_{group}")
    yield world
    world.close()


@dataclass(frozen=True)
class Guardless:
    """The database in a transaction in which a guard is broken."""

    world: World

    def read(self, role: str, sql: str) -> list[Any]:
        """What a role sees; an error does not end the transaction."""
        with self.world.admin.transaction():
            self.world.run(f"SET LOCAL ROLE {role}")
            try:
                return self.world.query(sql)
            finally:
                if self.world.admin.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
                    self.world.run("RESET ROLE")


@contextmanager
def without(world: World, *guards: str) -> Iterator[Guardless]:
    """Break guards by these statements, and mend everything afterwards."""
    with world.admin.transaction(force_rollback=True):
        for statement in guards:
            world.run(statement)
        yield Guardless(world)


def policy_of(world: World, role: str, table: str = "national.visit") -> str:
    found = world.query("SELECT polname FROM pg_policy WHERE polrelid = %s::regclass AND polroles = ARRAY[%s::regrole::oid]", table, role)
    return str(found[0][0])


# ---------------------------------------------------------------- flags and partitions


@pytest.mark.parametrize(
    "relation", ["national.visit", 'parts."visit@north"', "national.census", 'parts."card@north@2024"', "personal.card"]
)
def test_the_owner_sees_no_row_on_any_level_and_would_without_force(world: World, relation: str) -> None:
    count = f"SELECT count(*) > 0 FROM {relation}"
    with without(world) as whole:
        assert whole.read("ndc_owner", count) == [(False,)]
    with without(world, f"ALTER TABLE {relation} NO FORCE ROW LEVEL SECURITY") as broken:
        assert broken.read("ndc_owner", count) == [(True,)]


def test_force_on_the_parent_alone_leaves_the_partition_open_to_the_owner(world: World) -> None:
    with without(world, 'ALTER TABLE parts."visit@south" NO FORCE ROW LEVEL SECURITY') as broken:
        assert broken.read("ndc_owner", "SELECT count(*) FROM national.visit") == [(0,)]
        assert broken.read("ndc_owner", 'SELECT count(*) FROM parts."visit@south"') == [(9,)]


def test_a_partition_addressed_itself_is_denied_and_with_a_stray_grant_still_empty(world: World) -> None:
    ask, stray = (
        'SELECT count(*) FROM parts."visit@south"',
        (f"GRANT USAGE ON SCHEMA parts TO {NORTH}", f"GRANT SELECT ON ALL TABLES IN SCHEMA parts TO {NORTH}"),
    )
    assert world.is_denied("q_north", ask)
    with without(world, *stray) as closed:
        assert closed.read("q_north", ask) == [(0,)]
    with without(world, *stray, 'ALTER TABLE parts."visit@south" DISABLE ROW LEVEL SECURITY') as broken:
        assert broken.read("q_north", ask) == [(9,)]


def test_a_new_partition_inherits_no_flag_and_the_difference_is_seen(world: World) -> None:
    with without(
        world, "SET LOCAL ROLE ndc_owner", "CREATE TABLE parts.later PARTITION OF national.visit FOR VALUES IN ('later')", "RESET ROLE"
    ) as broken:
        assert world.query("SELECT relrowsecurity OR relforcerowsecurity FROM pg_class WHERE oid = 'parts.later'::regclass") == [(False,)]
        assert broken.read("ndc_owner", "SELECT object FROM control.access_drift()") == [("parts.later",)]
        world.run("SELECT control.apply_access()")
        assert world.query("SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'parts.later'::regclass") == [(True,)]


LEVELS = """
SELECT n.nspname, c.relkind, count(*), count(*) FILTER (WHERE c.relrowsecurity AND c.relforcerowsecurity)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('national', 'personal', 'parts') AND c.relkind IN ('r', 'p') GROUP BY 1, 2"""


def test_every_level_of_every_storage_is_protected_after_real_loads(new_site: Callable[..., Site]) -> None:
    site = new_site(contracts=CONTRACTS)
    for month in ("2025-05", "2025-06", "2025-05"):  # the last takes the place of the first
        for dataset in ("clinic", "permit"):
            put(site, f"ha-noi/{dataset}/{dataset}_{month}.csv", lines(4, visits=len(list(site.settings.inbox.rglob("*"))) + 1))
        put(site, "bureau/harvest/harvest_2024.csv", "Tỉnh,Sản lượng\nHà Nội,5\nCả nước,5\n")
        run_all(site)
    with site.warehouse.transaction() as connection:
        loaded = {d: connection.execute(text(f"SELECT count(*) FROM national.{d}")).scalar_one() for d in ("clinic", "permit", "harvest")}
    assert loaded["clinic"] == loaded["permit"] == 8
    with site.warehouse.transaction("ndc_owner") as connection:
        for schema, kind, there, protected in connection.execute(text(LEVELS)):
            assert there == protected, (schema, kind)
        leaves = (
            connection.execute(text("SELECT relname FROM pg_class WHERE relname LIKE 'permit%@ha-noi@%' AND relkind = 'r'")).scalars().all()
        )
        assert sorted(leaves) == [
            "permit.personal@ha-noi@2025-05",
            "permit.personal@ha-noi@2025-06",
            "permit@ha-noi@2025-05",
            "permit@ha-noi@2025-06",
        ]
        assert connection.execute(text("SELECT statement FROM control.access_drift()")).all() == []
        assert connection.execute(text("SELECT count(*) FROM pg_policies WHERE schemaname = 'parts'")).scalar_one() == 0


# ---------------------------------------------------------------- views and functions


def test_a_view_shows_its_reader_s_rows_and_a_plain_one_its_maker_s(world: World) -> None:
    view = "CREATE VIEW national.counts {}AS SELECT province_id, count(*) FROM national.visit GROUP BY 1 ORDER BY 1"
    ask, grant = "TABLE national.counts", f"GRANT SELECT ON national.counts TO {NORTH}"
    with without(world, view.format("WITH (security_invoker) "), grant) as guarded:
        assert guarded.read("q_north", ask) == MINE
    with without(world, view.format(""), grant) as broken:
        assert broken.read("q_north", ask) == ALL


def test_the_view_in_clear_shows_its_reader_s_rows_and_would_show_all_by_its_owner(world: World) -> None:
    ask = "SELECT DISTINCT province_id FROM national.visit_in_clear ORDER BY 1"
    assert world.read("q_north", ask) == [("north",)]
    plain = "ALTER VIEW national.visit_in_clear SET (security_invoker = false)"
    with without(world, plain) as forced:  # its owner is bound by FORCE, so this fails closed
        assert forced.read("q_north", ask) == []
    with without(world, plain, "ALTER VIEW national.visit_in_clear OWNER TO ndc_admin") as broken:
        assert len(broken.read("q_north", ask)) == 5


def test_a_materialized_view_has_no_row_security(world: World) -> None:
    assert world.query("SELECT count(*) FROM pg_class WHERE relkind = 'm'") == [(0,)]
    made = "CREATE MATERIALIZED VIEW mart.counts AS SELECT province_id, count(*) FROM national.visit GROUP BY 1 ORDER BY 1"
    with without(world, made, f"GRANT USAGE ON SCHEMA mart TO {NORTH}", f"GRANT SELECT ON mart.counts TO {NORTH}") as broken:
        assert broken.read("q_north", "TABLE mart.counts ORDER BY 1") == ALL


def test_a_function_with_its_owner_s_rights_shows_all(world: World) -> None:
    made = "CREATE FUNCTION national.counts() RETURNS TABLE (p text, n bigint) LANGUAGE sql {} AS 'SELECT province_id, count(*) FROM national.visit GROUP BY 1 ORDER BY 1'"
    with without(world, made.format("SECURITY INVOKER")) as guarded:
        assert guarded.read("q_north", "SELECT * FROM national.counts()") == MINE
    with without(world, made.format("SECURITY DEFINER")) as broken:
        assert broken.read("q_north", "SELECT * FROM national.counts()") == ALL


def test_the_functions_that_run_as_the_owner_name_everything_by_pg_catalog(world: World) -> None:
    found = world.query("SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'control'::regnamespace ORDER BY 1")
    names = ("attach_leaf", "delegate", "index_leaf", "my_delegations", "new_leaf", "revoke", "take_turn")
    assert [(name, settings[0]) for name, settings in found] == [(name, "search_path=pg_catalog, pg_temp") for name in names]
    told = {name for name, settings in found if "quote_all_identifiers=off" in settings}
    assert told >= {"delegate", "revoke", "take_turn", "my_delegations"}  # what they write down does not hang on the caller's settings
    for sql in (
        "SELECT control.sight()",
        "SELECT control.apply_access()",
        "SELECT control.live_policy()",
        "SELECT control.note_change()",
        "SELECT control.new_leaf(0, 'a', 'b', now()::date, now()::date)",
        "SELECT control.index_leaf(0, 'a')",
        "SELECT control.attach_leaf(0, 'a', 'b', now()::date, now()::date)",
        "INSERT INTO control.access_turn VALUES (pg_current_xact_id(), true)",
    ):
        assert world.is_denied("q_north", sql)


def test_a_leaky_function_is_not_run_on_hidden_rows_unless_it_lies(world: World) -> None:
    """In a central table all provinces' rows lie together, so the order of evaluation alone protects them."""
    made = (
        "CREATE FUNCTION workspace_north.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
        "$$ BEGIN IF $1 <> 'north' THEN RAISE EXCEPTION 'leak of %', $1; END IF; RETURN true; END $$"
    )
    ask = "SELECT count(*) FROM national.census WHERE workspace_north.leak(province_id)"
    made = f"SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; {made}"
    with without(world, made) as guarded:
        assert guarded.read("q_north", ask) == [(9,)]
    with (
        without(world, f"{made}; ALTER FUNCTION workspace_north.leak LEAKPROOF") as broken,
        pytest.raises(psycopg.errors.RaiseException, match="leak of"),
    ):
        broken.read("q_north", ask)
    assert world.is_denied("q_north", "CREATE FUNCTION workspace_north.f() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'")


# ---------------------------------------------------------------- roles and sessions


def test_a_member_that_does_not_inherit_sees_nothing_until_it_becomes_the_group(world: World) -> None:
    with without(world, f"GRANT {NORTH} TO q_north WITH INHERIT FALSE") as broken, pytest.raises(psycopg.errors.InsufficientPrivilege):
        broken.read("q_north", VISITS)
    found = world.query(
        "SELECT DISTINCT inherit_option, set_option, admin_option FROM pg_auth_members WHERE member::regrole::text LIKE 'q\\_%'"
    )
    assert found == [(True, True, False)] and world.read("q_north", VISITS) == MINE


def test_the_pipeline_s_login_inherits_nothing_of_the_owner_and_the_loader(world: World) -> None:
    with world.site.warehouse.engine.connect() as connection, pytest.raises(Exception, match="permission denied"):
        connection.execute(text(VISITS))
    assert world.query("SELECT rolinherit, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'ndc_service'") == [(False, False, False)]


def test_a_predefined_role_opens_restricted_columns_and_nobody_has_one(world: World) -> None:
    ask = "SELECT count(citizen) FROM personal.visit"
    part = {
        "grantor": "north",
        "parent_id": world.query("SELECT delegation_id FROM control.delegation WHERE name = 'own-rows/north'")[0][0],
    }
    with without(world) as guarded:
        world.enter(grantee="clinic", datasets=["visit"], provinces=["north"], in_clear=["visit.phone"], from_at=world.now, **part)
        world.run("SET LOCAL ROLE ndc_owner; SELECT control.apply_access(); RESET ROLE")
        assert guarded.read("q_clinic", "SELECT count(phone) FROM personal.visit") == [(9,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            guarded.read("q_clinic", ask)
        world.run("GRANT pg_read_all_data TO q_clinic")
        assert guarded.read("q_clinic", ask) == [(9,)]
        assert guarded.read("q_clinic", 'SELECT count(*) FROM parts."visit@south"') == [(0,)]  # row security holds even so


def test_row_security_cannot_be_switched_off_but_by_bypassrls(world: World) -> None:
    with (
        without(world, "SET LOCAL row_security = off") as guarded,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
    ):
        guarded.read("q_north", VISITS)
    with without(world, "ALTER ROLE q_north BYPASSRLS") as broken:
        assert broken.read("q_north", VISITS) == ALL


def test_no_policy_listens_to_a_setting_which_anybody_may_forge(world: World) -> None:
    policy = policy_of(world, NORTH)
    forged = f"ALTER POLICY {policy} ON national.visit USING (province_id = current_setting('ndc.province', true))"
    with without(world, forged, "SET LOCAL ndc.province = 'south'") as broken:
        assert broken.read("q_north", VISITS) == [("south", 9)]
    for (qual,) in world.query("SELECT pg_get_expr(polqual, polrelid) FROM pg_policy"):
        calls = set(re.findall(r"(\w+)\(", re.sub(r"'[^']*'", "", qual)))
        assert calls <= {"now", "ANY"}, qual
        assert "SELECT" not in qual.upper().split("'")[0]


def test_a_prepared_statement_is_planned_anew_for_each_role(world: World) -> None:
    session = world.sessions["q_north"]
    world.belong("q_north", ["north", "south"])
    try:
        session.execute(f"PREPARE again AS {VISITS}".encode())
        session.execute("SET plan_cache_mode = force_generic_plan")
        for role, seen in (("q_north", [*MINE, ("south", 9)]), (SOUTH, [("south", 9)]), (NORTH, MINE), ("q_north", [*MINE, ("south", 9)])):
            session.execute(f"SET ROLE {role}".encode())
            assert world.read("q_north", "EXECUTE again") == seen
            session.execute("RESET ROLE")
    finally:
        session.execute("DEALLOCATE again; RESET plan_cache_mode")
        world.belong("q_north", ["north"])
    assert world.read("q_north", VISITS) == MINE  # the open session lost the membership at once


def test_an_end_of_the_password_ends_no_session_and_the_policy_s_own_end_does(world: World) -> None:
    try:
        world.run(f"ALTER ROLE q_clinic VALID UNTIL '{world.now - timedelta(days=1)}'")
        world.enter(name="short", grantee="clinic", provinces=["south"], until_at=world.now + timedelta(days=30))
        world.apply()
        assert world.read("q_clinic", VISITS) == [("south", 9)]  # the login's own end has passed, the session goes on
        world.turn_clock(31)
        assert world.read("q_clinic", VISITS) == []
    finally:
        world.run("UPDATE control.delegation SET revoked_at = now() WHERE name = 'short'; ALTER ROLE q_clinic VALID UNTIL 'infinity'")
        world.apply()


# ---------------------------------------------------------------- what is no SELECT


def test_truncate_knows_no_rows(world: World) -> None:
    assert world.is_denied("q_north", "TRUNCATE national.visit")
    with without(
        world, f"GRANT TRUNCATE ON national.census TO {NORTH}", "SET LOCAL ROLE q_north", "TRUNCATE national.census", "RESET ROLE"
    ):
        assert world.query("SELECT count(*) FROM national.census") == [(0,)]


def test_a_reference_tells_whether_a_hidden_row_exists(world: World) -> None:
    made = (
        "CREATE TABLE workspace_north.guess (province_id text, period date, code text, "
        "FOREIGN KEY (province_id, period, code) REFERENCES national.census (province_id, period, code))"
    )
    ask = "INSERT INTO workspace_north.guess VALUES ('south', '2023-01-01', '{}') RETURNING true"
    assert world.is_denied("q_north", made)
    hidden = world.query("SELECT code FROM national.census WHERE province_id = 'south' AND period = '2023-01-01' LIMIT 1")[0][0]
    with without(world, f"GRANT REFERENCES ON national.census TO {NORTH}", "SET LOCAL ROLE q_north", made, "RESET ROLE") as broken:
        assert broken.read("q_north", ask.format(hidden)) == [(True,)]
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            broken.read("q_north", ask.format("nothing"))


def test_an_insert_tells_whether_a_hidden_key_exists(world: World) -> None:
    known = world.query("SELECT code FROM national.census WHERE province_id = 'south' AND period = '2023-01-01' LIMIT 1")[0][0]
    ask = f"INSERT INTO national.census (province_id, period, delivery_id, line, code) VALUES ('south', '2023-01-01', 1, 1, '{known}')"
    assert world.is_denied("q_north", ask)
    opened = (
        f"GRANT INSERT ON national.census TO {NORTH}",
        f"CREATE POLICY extra ON national.census FOR INSERT TO {NORTH} WITH CHECK (true)",
    )
    with without(world, *opened) as broken, pytest.raises(psycopg.errors.UniqueViolation):
        broken.read("q_north", ask)


def test_copying_a_table_never_shows_more_than_a_query(world: World) -> None:
    columns = "province_id, line"
    for table, rows in (
        ("visit", frozenset()),
        ("card", frozenset()),
    ):  # of a partitioned table nothing at all comes out: use COPY (SELECT …)
        assert {*_copied(world, f"COPY national.{table} ({columns}) TO STDOUT")} == rows
    assert {p for p, _ in _copied(world, f"COPY national.census ({columns}) TO STDOUT")} == {"north"}
    assert {p for p, _ in _copied(world, f"COPY (SELECT {columns} FROM national.visit) TO STDOUT")} == {"north"}
    opened = (
        f"GRANT USAGE ON SCHEMA parts TO {NORTH}",
        f'GRANT SELECT ON parts."visit@south" TO {NORTH}',
        'ALTER TABLE parts."visit@south" DISABLE ROW LEVEL SECURITY',
    )
    with (
        without(world, *opened, "SET LOCAL ROLE q_north"),
        world.admin.cursor() as cursor,
        cursor.copy(f'COPY parts."visit@south" ({columns}) TO STDOUT'.encode()) as copy,
    ):
        assert len(list(copy.rows())) == 9


def _copied(world: World, sql: str) -> list[tuple[Any, ...]]:
    with world.sessions["q_north"].cursor() as cursor, cursor.copy(sql.encode()) as copy:
        return list(copy.rows())


# ---------------------------------------------------------------- what plans and statistics tell


def test_statistics_are_hidden_and_would_tell_values(world: World) -> None:
    ask = "SELECT count(*) > 0 FROM pg_stats WHERE schemaname IN ('national', 'personal', 'parts')"
    world.run("ANALYZE national.visit; ANALYZE personal.visit; ANALYZE national.census")
    assert world.query(ask) == [(True,)]
    assert world.read("q_north", ask) == [(False,)]
    opened = (f"GRANT SELECT ON national.census TO {NORTH}", "ALTER TABLE national.census DISABLE ROW LEVEL SECURITY")
    with without(world, *opened) as broken:
        assert broken.read("q_north", ask) == [(True,)]


def test_a_plan_counts_no_rows_of_others_and_by_periods_alone_it_would(world: World) -> None:
    """EXPLAIN ANALYZE tells how many rows a scan found and how many a filter removed, and nobody can be forbidden to use it."""
    ask = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM national.{} WHERE amount > 0 AND code LIKE 'code%'"
    ((plan,),) = world.read("q_north", ask.format("visit"))
    assert _examined(plan[0]["Plan"]) == 9
    made = (
        "CREATE TABLE national.ranged (LIKE national.visit) PARTITION BY RANGE (period)",
        "CREATE TABLE parts.ranged PARTITION OF national.ranged DEFAULT",
        "ALTER TABLE national.ranged ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON national.ranged FOR SELECT TO {NORTH} USING (province_id = 'north')",
        f"GRANT SELECT ON national.ranged TO {NORTH}",
        "INSERT INTO national.ranged SELECT * FROM national.visit",
    )
    with without(world, *made) as broken:
        ((plan,),) = broken.read("q_north", ask.format("ranged"))
        assert _examined(plan[0]["Plan"]) == 45


def _examined(node: dict[str, Any]) -> int:
    """The rows that the scans of a plan found or removed."""
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] if "Relation Name" in node else 0
    return int(own) + sum(_examined(below) for below in node.get("Plans", ()))


# ---------------------------------------------------------------- time


def test_before_a_merger_neither_sees_the_other_and_after_it_the_heir_sees_both(world: World) -> None:
    """The code E is east's before the merger and union's after it; rows and delegations hold ids, which never change their meaning."""
    assert [world.read(f"q_{p}", VISITS) for p in ("east", "west", "union")] == [[("east", 9)], [("west", 9)], []]
    with without(
        world, f"ALTER POLICY {policy_of(world, 'ndc_province_west')} ON national.visit USING (province_id IN ('east', 'west'))"
    ) as broken:
        assert broken.read("q_west", VISITS) == [("east", 9), ("west", 9)]
    try:
        world.turn_clock(365 * 15)
        assert [world.read(f"q_{p}", VISITS) for p in ("east", "west", "union")] == [[], [], [("east", 9), ("union", 9), ("west", 9)]]
    finally:
        world.apply()


def test_a_commune_code_is_delegated_only_for_the_periods_in_which_it_means_that_commune(
    new_site: Callable[..., Site], tmp_path: Path
) -> None:
    entry = "\n  - {id: part, grantee: clinic, provinces: [north], datasets: [visit], communes: [K1], from: 2024-08-08, purpose: p, legal_basis: l}\n"
    world = World(new_site(contracts=HERE / "contracts", reference=HERE / "reference", access=declare(tmp_path / "access", OWN + entry)))
    try:
        login = world.add_person("clinic")
        ask = "SELECT DISTINCT commune, period FROM national.visit ORDER BY 2"
        assert world.read(login, ask) == [("K1", PERIODS[1]), ("K1", PERIODS[2])]  # in 2023 the code was another commune's
        unbounded = f"ALTER POLICY {policy_of(world, 'ndc_org_clinic')} ON national.visit USING (province_id = 'north' AND commune = 'K1')"
        with without(world, unbounded) as broken:
            assert ("K1", PERIODS[0]) in broken.read(login, ask)
    finally:
        world.close()


def test_two_provinces_that_shared_a_code_are_two_ids(new_site: Callable[..., Site]) -> None:
    """52 was Bình Định's until 30 June 2025 and is Gia Lai's since; seven codes changed their meaning on that day."""
    site = new_site(contracts=CONTRACTS)
    with site.warehouse.transaction("ndc_owner") as connection:
        shared = connection.execute(
            text(
                "SELECT id, provinces FROM control.delegation d JOIN control.grantee g ON g.id = d.grantee WHERE is_own AND g.heir_id = 'gia-lai-2025'"
            )
        )
        assert sorted(tuple(row) for row in shared) == [("binh-dinh", ["binh-dinh"]), ("gia-lai", ["gia-lai"])]
        heir = connection.execute(text("SELECT provinces FROM control.delegation WHERE is_own AND grantee = 'gia-lai-2025'")).scalar_one()
        assert heir == ["binh-dinh", "gia-lai", "gia-lai-2025"]
        run_script(connection, "UPDATE control.grantee SET valid_until = '2099-07-01' WHERE heir_id = 'gia-lai-2025'")
        run_script(connection, "UPDATE control.grantee SET valid_from = '2099-07-01' WHERE id = 'gia-lai-2025'")
        wanted = (
            connection.execute(
                text(
                    "SELECT definition FROM control.wanted_policy() WHERE relation = 'national.clinic' OR relation = '\"national\".clinic'"
                )
            )
            .scalars()
            .all()
        )
    for own, other in (("binh_dinh", "gia-lai"), ("gia_lai", "binh-dinh")):
        (policy,) = [d for d in wanted if f"TO ndc_province_{own} " in d]
        assert f"'{other}'" not in policy and "'52'" not in policy
    (policy,) = [d for d in wanted if "TO ndc_province_gia_lai_2025 " in d]
    assert all(f"'{p}'" in policy for p in heir) and "now() >=" in policy
