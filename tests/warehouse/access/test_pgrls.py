"""An independent linter of row security finds nothing in a loaded warehouse but what is meant, each exception with its reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warehouse.access.world import OWN, World
from warehouse.embedded import Server
from warehouse.roles import SCHEMAS

_TO_KNOWN_ROLES = (
    "USING (true) is for named roles alone: the pipeline's own, and the centre and the auditor, to whom every row is delegated. "
    "Nobody is anonymous here: PUBLIC has no right, and every session is a login's"
)
MEANT = {
    "PERF003": (r"(national|personal)\.\w+\.dlg_\w+|control\.(decision|delivery|expected|reconciliation|rejection)\.dlg_\w+", "the partition is the index of a province; the ledger is small beside the data"),
    "SEC005": (r".*\.(loader|owner|centre|auditor|people|dlg_centre)", _TO_KNOWN_ROLES),
    "SEC007": (r".*", "policies add up on purpose: whoever holds two delegations sees the rows of both"),
    "SEC008": (r".*\.(loader|owner|centre|auditor|people|dlg_centre)", _TO_KNOWN_ROLES),
    "SEC009": (r"parts\..*|control\.migration", "partitions have row security and no policy, so that nobody sees a row by addressing one"),
    "SEC013": (r"control\.(access_change|access_turn|delegation|grantee|membership)(\.\w+)?", "the triggers guard, record and carry out delegations; people cannot write these tables, and FORCE binds the owner"),
    "SEC014": (r"control\.(delegate|revoke|my_delegations|take_turn|new_leaf|index_leaf|attach_leaf)", "what people may call to delegate, what carries it out when they commit, and what the loader alone may call to put a leaf in place: they run as ndc_owner, who sees no row of a dataset, and ask session_user who delegates"),
    "SEC028": (r".*\.(loader|owner)", "the pipeline writes every row; a delivery's jurisdiction is a CHECK on its stage"),
    "SEC038": (r".*\.(loader|owner|centre|auditor|people|dlg_centre)", _TO_KNOWN_ROLES),
    "VIEW002": (r"national\.\w+_in_clear|control\.delivery_status", "the view hides nothing: the policies of its two tables do, before any function of the reader's"),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World.made_on(server, "linted", tmp_path_factory.mktemp("linted"), OWN)
    yield world
    world.close()


def lint(world: World, folder: Path) -> set[tuple[str, str]]:
    """(rule, location) of all that the linter says and is not meant."""
    url = world.site.logins.administrator().url.set(drivername="postgresql", query={}).render_as_string(hide_password=False)
    program = Path(sys.executable).with_name("pgrls")
    command = [str(program), "lint", "--schemas", ",".join(SCHEMAS), "--format", "json", "--config", str(folder / "pgrls.toml")]
    (folder / "pgrls.toml").write_text("")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"DATABASE_URL": url, "PATH": ""}, cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    found = [(v["rule_id"], v["location"]) for v in json.loads(done.stdout)["violations"]]
    assert len(found) > 100
    whole = {name for (name,) in world.query("SELECT polname FROM pg_policy WHERE polroles = ARRAY['ndc_centre'::regrole::oid]")}
    named = {(rule, re.sub(r"\.(dlg_\d+)$", lambda m: ".dlg_centre" if m[1] in whole else m[0], where)) for rule, where in found}
    return {(rule, where) for rule, where in named if rule not in MEANT or not re.fullmatch(MEANT[rule][0], where)}


def test_the_linter_finds_nothing_that_is_not_meant(world: World, tmp_path: Path) -> None:
    assert lint(world, tmp_path) == set()


def test_the_linter_would_name_what_is_wrong(world: World, tmp_path: Path) -> None:
    try:
        world.run("CREATE VIEW national.plain AS TABLE national.visit; GRANT SELECT ON national.plain TO ndc_province_north")
        world.run("CREATE MATERIALIZED VIEW mart.plain AS TABLE national.visit; GRANT SELECT ON mart.plain TO ndc_province_north")
        world.run("ALTER TABLE national.visit NO FORCE ROW LEVEL SECURITY; ALTER TABLE national.card DISABLE ROW LEVEL SECURITY")
        world.run("CREATE POLICY open ON national.census FOR SELECT TO ndc_province_north USING (true)")
        found = {where for _, where in lint(world, tmp_path)}
    finally:
        world.run("DROP VIEW national.plain; DROP MATERIALIZED VIEW mart.plain")
        world.apply()
    for thing in ("national.plain", "mart.plain", "national.visit", "national.card", "national.census.open"):
        assert any(where.startswith(thing) for where in found), (thing, found)
