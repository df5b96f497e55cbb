"""The proof holds for a warehouse in order; each thing that must hold is broken by hand once, and the proof names it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from etl.cli import app
from tests.warehouse.access.world import OWN, PERIODS, World
from warehouse.access import invariants
from warehouse.access.findings import Proof
from warehouse.access.prove import prove
from warehouse.embedded import Server
from warehouse.engine import Warehouse, check_version_number

NORTH, SOUTH = "ndc_province_north", "ndc_province_south"


@pytest.fixture(scope="module")
def ordered(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Own rows for each province, everything for the centre, a part of one for an organisation; a person in each. What a test breaks
    it mends."""
    world = World.made_on(server, "ordered", tmp_path_factory.mktemp("ordered"), OWN)
    parent = world.query("SELECT delegation_id FROM control.delegation WHERE grantee = 'north' AND is_own")[0][0]
    part: dict[str, Any] = {"parent_id": parent, "grantor": "north", "datasets": ["visit"], "provinces": ["north"], "communes": ["K1"]}
    world.enter(name="part", grantee="clinic", periods_from=PERIODS[1], in_clear=["visit.phone"], from_at=world.now, **part)
    world.apply()
    for group in ("north", "clinic", "auditor", "centre"):
        world.add_person(group, login=f"p_{group}")
    yield world
    world.close()


def examine(world: World, **options: Any) -> Proof:
    admin = world.site.logins.administrator()
    try:
        return prove(admin, "ndc_service", **options)
    finally:
        admin.dispose()


def test_a_warehouse_in_order_is_proven_and_the_proof_says_who_sees_what(ordered: World) -> None:
    proof = examine(ordered)
    assert proof.findings == ()
    assert {"p_north", "p_clinic", NORTH, "ndc_centre", "ndc_analyst", "ndc_public", "ndc_people"} <= set(proof.roles)
    assert not {"ndc_service", "ndc_task"} & set(proof.roles) and proof.unbound == ("ndc_admin",)
    seen = {(s.role, s.relation): (s.provinces, s.restricted_columns) for s in proof.seen}
    assert seen["p_clinic", "national.visit"] == (("north",), ()) == seen["ndc_org_clinic", "national.visit"]
    assert seen["p_clinic", "personal.visit"] == (("north",), ("phone",))
    assert seen["p_north", "personal.census"] == (("north",), ("citizen", "phone")) == seen["p_north", "national.census_in_clear"]
    assert seen["p_centre", "national.census"] == (("east", "north", "south", "unassigned", "union", "west"), ())
    assert ("p_clinic", "national.card") not in seen and ("p_centre", "personal.visit") not in seen
    assert not any(role in ("p_auditor", "ndc_public") for role, _ in seen)


# Each: the rule that is broken, how, how it is undone where it is not the database's alone, and what the proof says.
BREAKS = [
    ("row-security", "ALTER TABLE national.visit NO FORCE ROW LEVEL SECURITY", "", "not enabled and forced on national.visit"),
    ("row-security", 'ALTER TABLE parts."card@north@2024" DISABLE ROW LEVEL SECURITY', "", 'forced on parts.card@north@2024'),
    ("row-security", "CREATE TABLE mart.figures (province_id text); ALTER TABLE mart.figures OWNER TO ndc_owner", "DROP TABLE mart.figures", "mart.figures"),
    ("owner", "ALTER TABLE national.visit OWNER TO ndc_loader", "ALTER TABLE national.visit OWNER TO ndc_owner", "table national.visit belongs to ndc_loader"),
    ("owner", "ALTER SCHEMA mart OWNER TO p_north", "ALTER SCHEMA mart OWNER TO ndc_owner", "schema mart belongs to p_north"),
    ("parts-closed", f'GRANT SELECT ON parts."visit@east" TO {NORTH}', "", f'{NORTH} holds SELECT on parts.visit@east'),
    ("parts-closed", f'GRANT SELECT (line) ON parts."visit@east" TO {NORTH}', "", f"{NORTH} holds SELECT"),
    ("public", "GRANT SELECT ON national.visit TO PUBLIC", "", "PUBLIC has SELECT on national.visit"),
    ("public", "GRANT SELECT (line) ON personal.visit TO PUBLIC", "", "PUBLIC has SELECT (line) on personal.visit"),
    ("public", "CREATE POLICY extra ON national.visit TO PUBLIC USING (true)", "", "PUBLIC has policy extra on national.visit"),
    ("public", "GRANT EXECUTE ON FUNCTION control.apply_access TO PUBLIC", "", "PUBLIC has EXECUTE on control.apply_access(bigint[],integer)"),
    ("view", "CREATE VIEW national.all_visits AS TABLE national.visit; ALTER VIEW national.all_visits OWNER TO ndc_owner", "DROP VIEW national.all_visits", "with the rights of ndc_owner"),
    ("view", "ALTER VIEW national.visit_in_clear SET (security_invoker = false)", "ALTER VIEW national.visit_in_clear SET (security_invoker = true)", "national.visit_in_clear shows rows"),
    ("view", "CREATE MATERIALIZED VIEW mart.visits AS TABLE national.visit; ALTER MATERIALIZED VIEW mart.visits OWNER TO ndc_owner", "DROP MATERIALIZED VIEW mart.visits", "mart.visits"),
    ("view", "CREATE VIEW workspace_north.all_visits AS TABLE national.visit", "DROP VIEW workspace_north.all_visits", "workspace_north.all_visits shows rows with the rights of ndc_admin"),
    ("function", "CREATE FUNCTION public.f() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM national.visit'", "DROP FUNCTION public.f", "f() runs with"),
    ("function", "ALTER FUNCTION control.revoke(text, text) RESET ALL", "ALTER FUNCTION control.revoke(text, text) SET search_path = pg_catalog, pg_temp", "control.revoke(text,text) runs with"),
    ("attribute", f"ALTER ROLE {NORTH} BYPASSRLS", f"ALTER ROLE {NORTH} NOBYPASSRLS", f"{NORTH} has the attribute BYPASSRLS"),
    ("attribute", "ALTER ROLE p_north CREATEROLE REPLICATION", "ALTER ROLE p_north NOCREATEROLE NOREPLICATION", "p_north has the attribute CREATEROLE, REPLICATION"),
    ("attribute", "ALTER ROLE p_north SUPERUSER", "ALTER ROLE p_north NOSUPERUSER", "p_north has the attribute SUPERUSER"),
    ("attribute", f"ALTER ROLE {NORTH} LOGIN", f"ALTER ROLE {NORTH} NOLOGIN", f"{NORTH} has the attribute LOGIN"),
    ("belongings", "CREATE TABLE public.mine (); ALTER TABLE public.mine OWNER TO p_north", "DROP TABLE public.mine", "p_north owns table public.mine outside"),
    ("pipeline", "GRANT ndc_loader TO p_north", "REVOKE ndc_loader FROM p_north", "p_north belongs to ndc_loader"),
    ("pipeline", "GRANT ndc_owner TO ndc_service WITH INHERIT TRUE", "GRANT ndc_owner TO ndc_service WITH INHERIT FALSE", "ndc_service belongs to ndc_owner (INHERIT)"),
    ("pipeline", "GRANT ndc_owner TO ndc_task WITH INHERIT FALSE", "REVOKE ndc_owner FROM ndc_task", "ndc_task belongs to ndc_owner."),
    ("pipeline", "GRANT ndc_centre TO ndc_task", "REVOKE ndc_centre FROM ndc_task", "ndc_task belongs to ndc_centre"),
    ("membership", f"GRANT {SOUTH} TO p_north", f"REVOKE {SOUTH} FROM p_north", f"p_north belongs to {SOUTH}, of which nothing is recorded"),
    ("membership", f"GRANT {SOUTH} TO {NORTH}", f"REVOKE {SOUTH} FROM {NORTH}", f"{NORTH} belongs to {SOUTH}"),
    ("membership", "GRANT p_clinic TO p_north", "REVOKE p_clinic FROM p_north", "p_north belongs to p_clinic"),
    ("membership", "UPDATE control.membership SET until = now() WHERE person = 'p_north'", "UPDATE control.membership SET until = NULL WHERE person = 'p_north'", f"p_north belongs to {NORTH}"),
    ("membership", f"CREATE ROLE stray LOGIN IN ROLE {NORTH}", "DROP ROLE stray", f"stray belongs to {NORTH}"),
    ("member-lost", f"REVOKE {NORTH} FROM p_north", f"GRANT {NORTH} TO p_north", f"p_north does not belong to {NORTH}"),
    ("grant-option", f"GRANT SELECT ON national.visit TO {NORTH} WITH GRANT OPTION", "", f"{NORTH} may pass national.visit on"),
    ("grant-option", f"GRANT {NORTH} TO p_north WITH ADMIN OPTION", f"REVOKE ADMIN OPTION FOR {NORTH} FROM p_north", f"p_north may pass membership of {NORTH} on"),
    ("default-privileges", f"ALTER DEFAULT PRIVILEGES FOR ROLE ndc_owner IN SCHEMA national GRANT SELECT ON TABLES TO {NORTH}", f"ALTER DEFAULT PRIVILEGES FOR ROLE ndc_owner IN SCHEMA national REVOKE SELECT ON TABLES FROM {NORTH}", "ndc_owner (national) will make"),
    ("default-privileges", "ALTER DEFAULT PRIVILEGES FOR ROLE p_north GRANT SELECT ON TABLES TO PUBLIC", "ALTER DEFAULT PRIVILEGES FOR ROLE p_north REVOKE SELECT ON TABLES FROM PUBLIC", "p_north will make is granted to PUBLIC"),
    ("power", "GRANT pg_read_all_data TO ndc_centre", "REVOKE pg_read_all_data FROM ndc_centre", "ndc_centre belongs to pg_read_all_data"),
    ("parent", "SET session_replication_role = replica; UPDATE control.delegation SET revoked_at = now() WHERE name = 'own-rows/north'; SET session_replication_role = origin", "SET session_replication_role = replica; UPDATE control.delegation SET revoked_at = NULL WHERE name = 'own-rows/north'; SET session_replication_role = origin", "'part' of clinic lives on below 'own-rows/north'"),
    ("drift", f"CREATE ROLE {NORTH}_else; GRANT SELECT ON national.card TO {NORTH}_else", f"DROP OWNED BY {NORTH}_else; DROP ROLE {NORTH}_else", "mended by: REVOKE SELECT ON table"),
    ("rows", "ALTER POLICY {north} ON national.visit USING (true)", "", f"{NORTH} sees rows of east, south, union, west in national.visit"),
    ("rows", "ALTER POLICY {north} ON national.visit USING (true)", "", "p_north sees rows of east, south, union, west in national.visit"),
    ("rows", "ALTER POLICY {clinic} ON national.visit USING (province_id = 'north')", "", "p_clinic sees rows of national.visit outside of the communes or periods"),
    ("rows", "ALTER POLICY {clinic} ON personal.visit USING (province_id = 'north' AND commune = 'K1')", "", "p_clinic sees rows of personal.visit outside"),
    ("rows", "ALTER VIEW national.visit_in_clear SET (security_invoker = false); ALTER VIEW national.visit_in_clear OWNER TO ndc_admin; "
     "GRANT SELECT ON national.visit_in_clear TO ndc_centre", "ALTER VIEW national.visit_in_clear SET (security_invoker = true); ALTER VIEW national.visit_in_clear OWNER TO ndc_owner", "ndc_centre sees rows of east, north, south, union, west in national.visit_in_clear"),
    ("columns", "GRANT SELECT (citizen) ON personal.visit TO ndc_org_clinic", "", "p_clinic sees the column citizen of north in personal.visit"),
    ("sight", "DROP POLICY {north} ON national.visit", "", "p_north sees no rows of north in national.visit"),
    ("sight", f"REVOKE SELECT ON personal.visit FROM {NORTH}", "", f"{NORTH} sees no rows of north in personal.visit"),
    ("writes", f"GRANT TRUNCATE, REFERENCES ON national.visit TO {NORTH}", "", "p_north holds REFERENCES, TRUNCATE on national.visit"),
    ("writes", "GRANT UPDATE (sender) ON control.delivery TO ndc_centre", "", "p_centre holds UPDATE on control.delivery"),
    ("parts", f"GRANT USAGE ON SCHEMA parts TO {NORTH}", "", "p_north enters the schema parts"),
    ("workspace", f"GRANT USAGE ON SCHEMA workspace_north TO {SOUTH}", "", f"{SOUTH} enters workspace_north"),
    ("ledger", "ALTER POLICY {north} ON control.rejection USING (true)", "", "p_north sees the ledger of bureau, east, south, union, west (control.rejection)"),
    ("loader", "ALTER POLICY loader ON national.visit USING (province_id = 'north')", "", "The loader sees 9 rows in national.visit, the ledger states 45"),
    ("loader", "ALTER POLICY loader ON national.visit USING (province_id = 'north')", "", "rows of east, south, union, west in national.visit, the loader sees none"),
    ("owner-blind", "CREATE POLICY own ON national.census TO ndc_owner USING (true)", "", "ndc_owner sees rows of national.census"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "broken", "undo", "said"), BREAKS, ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(BREAKS)])
def test_what_is_broken_is_named(ordered: World, rule: str, broken: str, undo: str, said: str) -> None:
    for role, holder in (("ndc_province_north", "north"), ("ndc_org_clinic", "clinic")):
        table = "control.delivery" if " ON control." in broken else "national.visit"
        found = ordered.query(
            "SELECT polname FROM pg_policy WHERE polrelid = %s::regclass AND polroles = ARRAY[%s::regrole::oid]", table, role
        )
        broken = broken.replace(f"{{{holder}}}", found[0][0] if found else "")
    try:
        ordered.run(broken)
        proof = examine(ordered)
    finally:
        ordered.run(f"SET session_replication_role = origin; {undo}")
        ordered.apply()  # mends what differs from the delegations
    told = [f.message.en for f in proof.findings if f.rule == rule]
    assert any(said in sentence for sentence in told), [f"{f.rule}: {f.message.en}" for f in proof.findings]
    assert all(f.message.vi and "{" not in f.message.en.partition("; mended by")[0] for f in proof.findings)
    assert next(check for check in proof.checks if check.rule == rule).broken == len(told) and not proof.is_clean
    assert examine(ordered).findings == ()


def test_a_server_with_known_holes_is_named(ordered: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "check_version", lambda connection: check_version_number(150013))
    assert [(f.kind, f.rule) for f in examine(ordered).findings] == [("leak", "version")]


def test_an_administrator_that_may_not_become_everybody_proves_the_catalogue_alone(ordered: World) -> None:
    ordered.run("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'secret'")
    try:
        ordered.run("GRANT ndc_owner, ndc_loader TO keeper WITH INHERIT FALSE")
        ordered.run(f"GRANT CONNECT ON DATABASE {ordered.site.warehouse.url.database} TO keeper")
        admin = Warehouse(ordered.site.warehouse.url.set(username="keeper", password="secret"))
        proof, catalogue = prove(admin, "keeper"), prove(admin, "keeper", is_live=False)
        admin.dispose()
    finally:
        ordered.run("DROP OWNED BY keeper; DROP ROLE keeper")
    assert {f.kind for f in proof.findings} == {"unproven"} and {f.role for f in proof.findings} == set(proof.roles)
    assert catalogue.is_clean and not catalogue.seen and "rows" not in {check.rule for check in catalogue.checks}


def test_nothing_of_a_workspace_is_run_and_nothing_is_changed(ordered: World) -> None:
    ordered.sessions["p_north"].execute(
        "CREATE FUNCTION workspace_north.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run'; END $$; "
        "CREATE OPERATOR workspace_north.= (FUNCTION = workspace_north.equal, LEFTARG = text, RIGHTARG = text); "
        "CREATE VIEW workspace_north.trap AS SELECT 1 / 0 AS line"
    )
    ordered.run("ALTER ROLE p_north SET search_path = workspace_north, pg_catalog")
    state = "SELECT (SELECT max(change_id) FROM control.access_change), (SELECT array_agg((xmin, line)::text ORDER BY line) FROM national.visit)"
    before = ordered.query(state)
    try:
        assert examine(ordered).findings == ()
    finally:
        ordered.run("DROP OPERATOR workspace_north.= (text, text); DROP FUNCTION workspace_north.equal; DROP VIEW workspace_north.trap")
    assert before == ordered.query(state)


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(ordered: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("etl.cli.proof.open_site", lambda: ordered.site)
    yield lambda *arguments: CliRunner().invoke(app, ["access", "prove", *arguments])


def test_the_command_keeps_a_report_that_only_this_account_reads(ordered: World, command: Any) -> None:
    done = command()
    assert done.exit_code == 0 and "Proven" in done.output
    files = sorted((ordered.site.settings.home / "access").iterdir())
    assert [f.suffix for f in files] == [".html", ".json"] and files[0].name.startswith("proof-2")
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in files) and stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    facts = json.loads(files[1].read_text())
    assert facts["is_clean"] and facts["findings"] == [] and len(facts["checks"]) == len(invariants.MEANINGS) + 9
    page = files[0].read_text()
    assert "p_clinic" in page and "<script" not in page and "Proven" in page
    for line in ("citizen 1", "phone 1"):
        assert line not in page and line not in files[1].read_text()


def test_the_command_says_a_leak_in_both_languages_and_ends_with_1(ordered: World, command: Any, tmp_path: Path) -> None:
    ordered.run("GRANT INSERT ON national.visit TO ndc_province_north")
    done, as_json = (
        command("--out", str(tmp_path / "kept" / "proof.json")),
        command("--json", "--catalogue-only", "--out", str(tmp_path / "again.json")),
    )
    ordered.apply()
    assert done.exit_code == 1
    assert "LEAK: p_north holds INSERT on national.visit." in done.output and "RÒ RỈ: p_north có quyền INSERT" in done.output
    assert not json.loads((tmp_path / "kept" / "proof.json").read_text())["is_clean"]
    assert "Not proven" in (tmp_path / "kept" / "proof.html").read_text()
    assert as_json.exit_code == 1 and json.loads(as_json.stdout)["is_live"] is False
