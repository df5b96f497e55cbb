"""People with a login of their own, on a real server: as its superuser, and as a login that only has CREATEROLE."""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import URL, text

from etl.settings import read_settings
from etl.site import Site
from expectations.faults import Message, SetupFault
from tests.conftest import NOW, ROOT
from tests.warehouse.access_site import put_rows, write_access
from warehouse.access.load import group_grantees
from warehouse.access.people import Disabled, NewPerson, Person, add_person, disable_person, list_people, set_password
from warehouse.embedded import TEST_SETTINGS, Server
from warehouse.engine import Warehouse
from warehouse.logins import Logins
from warehouse.migrate import migrate
from warehouse.query import query_rows
from warehouse.roles import ensure_login

pytestmark = pytest.mark.xdist_group("people")  # one server for all of them

PASSWORD = "%a:b'c\\-d%s"
MINE, OTHER, ENDED = "gia-lai-2025", "ha-noi", "gia-lai"
WORKSPACE = "workspace_gia_lai_2025"
MY_ROLE = "ndc_province_gia_lai_2025"
ZONE = "Asia/Ho_Chi_Minh"
_numbers = itertools.count(1)


@dataclass
class Place:
    """A migrated warehouse on the module's server, and who administers it."""

    server: Server
    home: Path
    site: Site
    admin: Warehouse

    def add(self, *groups: str, login: str | None = None, dry_run: bool = False, **more: Any) -> Person:
        new = NewPerson(login or f"person{next(_numbers)}", groups, **more)
        return add_person(self.admin, new, PASSWORD, "boss", ZONE, dry_run=dry_run)

    def disable(self, login: str, *, dry_run: bool = False) -> Disabled:
        return disable_person(self.admin, login, "moved on", "boss", dry_run=dry_run)

    def connect(self, login: str, password: str = PASSWORD) -> psycopg.Connection:
        return connect(self.admin.url.set(username=login, password=password))

    def ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the superuser."""
        with connect(self.server.superuser_url(self.admin.url.database)) as connection:
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        """The server's log, up to this moment."""
        mark = f"mark{next(_numbers)}"
        self.ask(f"SELECT '{mark}'")
        deadline = time.monotonic() + 10
        while mark not in (found := "".join(f.read_text() for f in (self.server.status().data / "log").iterdir())):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found


def connect(url: URL) -> psycopg.Connection:
    return psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def places(home: Path) -> Iterator[dict[str, Place]]:
    """Two warehouses; the one without a superuser is first, so that the roles are of its making. Administrators' statements are logged."""
    server = Server(home, settings=TEST_SETTINGS)
    server.start()
    with connect(server.superuser_url("postgres")) as connection:
        connection.autocommit = True
        for sql in (
            "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'dba'",
            "ALTER ROLE dba SET log_statement = 'all'",
            "ALTER ROLE ndc_admin SET log_statement = 'all'",
            "CREATE DATABASE createrole OWNER dba",
            "CREATE DATABASE superuser",
        ):
            connection.execute(sql.encode())
    as_superuser = server.superuser_url("superuser")
    urls = {"createrole": as_superuser.set(username="dba", password="dba", database="createrole"), "superuser": as_superuser}
    found = {}
    for kind, url in urls.items():
        settings = read_settings({"NDC_HOME": str(home / kind), "NDC_WAREHOUSE_URL": url.render_as_string(hide_password=False)})
        access = write_access(home / kind / "access")
        site = Site(replace(settings, contracts=ROOT / "tests" / "data" / "contracts", access=access))
        site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())
        migrate(site.warehouse, site.contracts, site.registry, site.access)
        put_rows(site, "clinic", [{"province_id": p, "clinic_code": "A001", "visits": 1} for p in (MINE, OTHER)])
        found[kind] = Place(server, home, site, Warehouse(url))
    yield found
    for place in found.values():
        place.admin.dispose()
        place.site.warehouse.dispose()
    server.destroy()


@pytest.fixture(params=["superuser", "createrole"])
def place(places: dict[str, Place], request: pytest.FixtureRequest) -> Place:
    return places[request.param]


@pytest.fixture
def owned(places: dict[str, Place]) -> Place:
    """The one that a superuser administers."""
    return places["superuser"]


# ---------------------------------------------------------------- adding


def test_a_person_logs_in_with_the_password_and_reads_what_the_group_reads(place: Place) -> None:
    login = place.add(MINE).login
    with place.connect(login) as connection:
        assert connection.execute("SELECT DISTINCT province_id FROM national.clinic").fetchall() == [(MINE,)]
        assert connection.execute("SELECT count(*) FROM control.my_delegations() WHERE grantee = %s", [MINE]).fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        place.connect(login, "guessed")


def test_a_login_has_no_power_but_its_groups_and_cannot_add_others_to_them(place: Place) -> None:
    login = place.add(MINE, "institute").login
    powers = "rolcanlogin, rolinherit, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
    assert place.ask(f"SELECT {powers} FROM pg_roles WHERE rolname = %s", login) == [(True, True, False, False, False, False, False)]
    members = (
        "SELECT roleid::regrole::text, inherit_option, set_option, admin_option FROM pg_auth_members WHERE member = %s::regrole ORDER BY 1"
    )
    assert place.ask(members, login) == [
        (group, True, True, False) for group in ("ndc_org_institute", "ndc_people", "ndc_province_gia_lai_2025")
    ]


def test_the_administrator_is_no_member_of_the_person_afterwards(place: Place) -> None:
    login = place.add(MINE).login
    acting = "SELECT count(*) FROM pg_auth_members WHERE roleid = %s::regrole AND (inherit_option OR set_option)"
    assert place.ask(acting, login) == [(0,)]
    place.disable(login)
    assert place.ask(acting, login) == [(0,)]


def test_a_group_may_be_named_by_its_role(place: Place) -> None:
    assert place.add("ndc_province_gia_lai_2025", MINE).groups == (MINE,)


@pytest.mark.parametrize(
    ("groups", "connections", "statement", "idle"),
    [
        ((MINE,), 10, "5min", "5min"),
        (("institute",), 10, "5min", "5min"),
        (("centre",), 20, "30min", "5min"),
        (("auditor",), 5, "10min", "5min"),
        (("public",), 3, "30s", "30s"),
        (("public", "auditor", MINE), 10, "10min", "5min"),
    ],
)
def test_limits_are_those_of_the_most_generous_group(
    place: Place, groups: tuple[str, ...], connections: int, statement: str, idle: str
) -> None:
    person = place.add(*groups)
    assert person.connections == connections
    with place.connect(person.login) as connection:
        shown = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
        assert connection.execute(shown.encode()).fetchone() == (statement, idle)


def test_the_last_day_ends_the_password_and_the_membership(place: Place) -> None:
    person = place.add(MINE, until=date(2099, 3, 31))
    last = datetime(2099, 3, 31, 17, tzinfo=UTC)  # midnight in the time zone of the site
    assert person.until == last
    assert place.ask("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", person.login) == [(last,)]
    assert place.ask("SELECT until FROM control.membership WHERE person = %s", person.login) == [(last,)]
    with pytest.raises(SetupFault, match="2020-01-01 has passed"):
        place.add(MINE, until=date(2020, 1, 1))


def test_the_server_holds_a_scram_verifier_and_its_log_no_password(place: Place) -> None:
    login = place.add(MINE).login
    set_password(place.admin, login, "another%secret", "boss")
    with place.connect(login, "another%secret"):
        pass
    assert place.ask("SELECT rolpassword LIKE 'SCRAM-SHA-256$%%' FROM pg_authid WHERE rolname = %s", login) == [(True,)]
    log = place.log()
    assert f"ALTER ROLE {login} PASSWORD" in log  # so what is not there was not sent
    assert PASSWORD not in log and PASSWORD.replace("'", "''") not in log and "another%secret" not in log


def test_the_passwords_of_the_pipelines_logins_are_not_in_the_log_either(owned: Place) -> None:
    with owned.admin.engine.begin() as connection:
        ensure_login(connection, "ndc_reader", "third%secret", ("ndc_centre",), inherits=True)
    with owned.connect("ndc_reader", "third%secret") as session:
        assert session.execute("SHOW log_statement").fetchone() == ("all",)
    assert "ALTER ROLE ndc_reader" in owned.log() and "third%secret" not in owned.log()


def test_groups_that_show_different_columns_of_one_dataset_are_refused_and_nothing_is_left(place: Place) -> None:
    place.ask("UPDATE control.dataset SET restricted = '{doctor,nurse}' WHERE dataset = 'clinic'")
    given = (
        "INSERT INTO control.delegation (name, grantor, grantee, datasets, in_clear, from_at, purpose, legal_basis) "
        "VALUES ('narrow', 'centre', 'institute', '{clinic}', '{clinic.doctor}', now(), 'p', 'l')"
    )
    place.ask(given)
    try:
        with pytest.raises(SetupFault, match=r"(?s)different columns of one dataset in clear \(clinic: .*narrow") as caught:
            place.add(MINE, "institute", login="torn")
        assert caught.value.rule == "column-conflict"
        assert place.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'torn'") == [(0,)]
        assert place.ask("SELECT count(*) FROM control.grantee WHERE id = 'torn'") == [(0,)]
        assert place.add("institute").groups == ("institute",)
    finally:
        place.ask("UPDATE control.delegation SET revoked_at = now() WHERE name = 'narrow'")
        place.ask("UPDATE control.dataset SET restricted = '{doctor}' WHERE dataset = 'clinic'")


def test_what_a_person_makes_in_the_workspace_is_its_own_and_what_it_makes_as_the_province_is_its_colleagues_too(place: Place) -> None:
    maker, colleague, stranger = (place.add(group).login for group in (MINE, MINE, OTHER))
    own, shared = (f"{WORKSPACE}.t{next(_numbers)}" for _ in range(2))
    with place.connect(maker) as connection:
        connection.execute(f"CREATE VIEW {own} AS SELECT province_id FROM national.clinic".encode())  # it shows what its owner sees
        connection.execute(f"SET ROLE {MY_ROLE}".encode())
        connection.execute(f"CREATE TABLE {shared} (id serial, a int)".encode())
    with place.connect(colleague) as connection:
        connection.execute(f"INSERT INTO {shared} (a) VALUES (7)".encode())
        assert connection.execute(f"SELECT id, a FROM {shared}".encode()).fetchall() == [(1, 7)]
    for login, relation in ((colleague, own), (stranger, own), (stranger, shared)):
        with place.connect(login) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {relation}".encode())
    assert place.disable(maker).objects == 1
    with place.connect(colleague) as connection:
        assert connection.execute(f"SELECT a FROM {shared}".encode()).fetchall() == [(7,)]


def test_a_dry_run_tells_all_and_leaves_nothing(place: Place) -> None:
    person = place.add(MINE, login="passing", dry_run=True)
    assert (person.groups, person.connections, person.can_log_in) == ((MINE,), 10, True)
    assert place.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'passing'") == [(0,)]
    assert "passing" not in {p.login for p in list_people(place.site.warehouse)}


@pytest.mark.parametrize("login", ["a", "An", "an-b", "pg_an", "ndc_an", "select", "public", "none", "a" * 32, "đan", "1an", 'a"b'])
def test_a_name_that_could_be_mistaken_is_refused(owned: Place, login: str) -> None:
    with pytest.raises(SetupFault, match="cannot be a login"):
        owned.add(MINE, login=login)


@pytest.mark.parametrize("login", ["centre", "institute", "dba"])
def test_a_name_that_is_a_group_or_a_role_is_taken(place: Place, login: str) -> None:
    with pytest.raises(SetupFault, match="is taken"):
        place.add(MINE, login=login)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("gia-lai-205", "no group, province or organisation 'gia-lai-205'. Did you mean 'gia-lai-2025'?"),
        ("ndc_owner", "no group, province or organisation 'ndc_owner'"),
        (ENDED, "has ended; its place is taken by Tỉnh Gia Lai: --role gia-lai-2025"),
    ],
)
def test_a_group_that_is_not_there_is_refused_with_the_way_on(place: Place, group: str, said: str) -> None:
    with pytest.raises(SetupFault) as caught:
        place.add(group)
    assert said in caught.value.message.en


def test_a_person_is_no_group(place: Place) -> None:
    login = place.add(MINE).login
    with pytest.raises(SetupFault, match="no group"):
        place.add(login)


# ---------------------------------------------------------------- what is read is logged


def test_what_a_person_reads_is_in_the_log_with_login_database_and_session(owned: Place) -> None:
    person = owned.add(MINE)
    assert person.is_logged
    with owned.connect(person.login) as connection:
        connection.execute("SELECT 'read by me' FROM national.clinic")
    (line,) = (line for line in owned.log().splitlines() if "'read by me'" in line)
    assert f" {person.login}@superuser " in line and line.startswith(f"{datetime.now(UTC):%Y-%m-%d }")
    assert {stat.S_IMODE(f.stat().st_mode) for f in (owned.server.status().data / "log").iterdir()} == {0o600}


def test_a_person_cannot_turn_the_log_off(owned: Place) -> None:
    login = owned.add(MINE).login
    for sql in ("SET log_statement = 'none'", f"ALTER ROLE {login} SET log_statement = 'none'", f"ALTER ROLE {login} RESET log_statement"):
        with owned.connect(login) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(sql.encode())
    with owned.connect(login) as connection:
        connection.execute(f"ALTER ROLE {login} RESET ALL".encode())
    with owned.connect(login) as connection:
        assert connection.execute("SHOW log_statement").fetchone() == ("all",)


def test_without_a_superuser_a_person_is_added_all_the_same_and_it_is_known_that_nothing_is_logged(places: dict[str, Place]) -> None:
    assert not places["createrole"].add(MINE).is_logged


# ---------------------------------------------------------------- ending


def test_a_disabled_person_has_no_session_no_login_and_no_group(place: Place) -> None:
    login = place.add(MINE).login
    session = place.connect(login)
    assert place.disable(login, dry_run=True).sessions == 1
    session.execute("SELECT 1")
    done = place.disable(login)
    assert (done.sessions, done.groups) == (1, (MINE,))
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        place.connect(login)
    assert place.ask("SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole", login) == [(0,)]
    assert place.ask("SELECT count(*) FROM control.membership WHERE person = %s AND until IS NULL", login) == [(0,)]
    again = place.disable(login)
    assert (again.sessions, again.groups, again.delegations) == (0, (), ())
    with pytest.raises(SetupFault, match="a name is never given again"):
        place.add(MINE, login=login)
    with pytest.raises(SetupFault, match="was disabled"):
        set_password(place.admin, login, "new", "boss")


def test_a_membership_that_another_granted_is_taken_away_too(owned: Place, places: dict[str, Place]) -> None:
    login = owned.add(MINE).login
    with connect(places["createrole"].admin.url) as dba:
        dba.execute(f"GRANT ndc_centre TO {login}".encode())
    owned.disable(login)
    assert owned.ask("SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole", login) == [(0,)]


def test_what_a_disabled_person_held_and_gave_on_ends_even_while_it_is_reading(place: Place) -> None:
    login = place.add("institute").login
    place.ask(
        "INSERT INTO control.delegation (name, grantor, grantee, datasets, in_clear, from_at, may_redelegate, purpose, legal_basis, is_declared, source) "
        "VALUES (%s, 'centre', %s, '{clinic}', '{}', now(), true, 'p', 'l', true, 'centre.yaml')",
        f"held-{login}",
        login,
    )
    apply(place)
    with place.connect(login) as connection:
        assert connection.execute(
            "SELECT control.delegate('health-north', 'p', 'l', p_name => %s, p_grantor => %s)", [f"on-{login}", login]
        ).fetchone() == (f"on-{login}",)
    reading = place.connect(login)
    assert reading.execute("SELECT count(*) FROM national.clinic").fetchone() == (2,)  # and its transaction holds the table
    done = place.disable(login)
    assert (done.sessions, done.delegations, done.declared) == (1, (f"held-{login}",), {f"held-{login}": "centre.yaml"})
    reading.close()
    ended = (
        "SELECT revoked_by, revoked_because FROM control.delegation WHERE name = ANY (%s) AND revoked_at IS NOT NULL ORDER BY delegation_id"
    )
    assert place.ask(ended, [f"held-{login}", f"on-{login}"]) == [("boss", "moved on"), ("boss", f"parent held-{login}")]
    assert place.ask("SELECT count(*) FROM pg_policies WHERE %s = ANY (roles)", login) == [(0,)]
    assert place.ask("SELECT statement FROM control.access_drift()") == []


def apply(place: Place) -> None:
    with place.site.warehouse.transaction("ndc_owner") as connection:
        connection.execute(text("SELECT control.apply_access()"))


def test_the_audit_table_says_who_did_what_and_why(place: Place) -> None:
    login = place.add(MINE, name="Nguyễn Văn An", legal_basis="12/QĐ").login
    set_password(place.admin, login, "new", "clerk")
    place.disable(login)
    changes = place.ask(
        "SELECT what, actor, login, legal_basis, after ->> 'reason' FROM control.access_change "
        "WHERE name = %s OR after ->> 'id' = %s ORDER BY change_id",
        login,
        login,
    )
    by = place.admin.url.username
    assert changes == [
        ("grantee insert", "boss", by, None, None),
        ("membership insert", "boss", by, "12/QĐ", None),
        ("person password", "clerk", by, None, None),
        ("membership update", "boss", by, "12/QĐ", None),
        ("grantee update", "boss", by, None, None),
        ("person disable", "boss", by, None, "moved on"),
    ]


def test_the_list_tells_who_belongs_to_whom(place: Place) -> None:
    login = place.add("health-north", "public", name="Lan").login
    found = {p.login: p for p in list_people(place.site.warehouse)}
    person = found[login]
    assert (person.name, person.groups, person.province_id, person.can_log_in) == ("Lan", ("health-north", "public"), MINE, True)
    assert (person.connections, person.statement_timeout, person.until) == (10, "300s", None)
    place.disable(login)
    (person,) = (p for p in list_people(place.site.warehouse) if p.login == login)
    assert not person.can_log_in and person.ended_at is not None


def test_nobody_is_said_with_the_nearest_name(place: Place) -> None:
    login = place.add(MINE, login=f"thanh_{next(_numbers)}").login
    with pytest.raises(SetupFault) as caught:
        place.disable(login.replace("thanh", "tanh"))
    assert f"Did you mean '{login}'?" in caught.value.message.en


# ---------------------------------------------------------------- who may not


def test_a_login_that_may_not_grant_the_groups_is_told_so(places: dict[str, Place]) -> None:
    place = places["createrole"]
    place.ask("CREATE ROLE helper LOGIN CREATEROLE PASSWORD 'helper'")
    place.ask("GRANT ndc_owner TO helper WITH INHERIT FALSE, SET TRUE; GRANT CONNECT ON DATABASE createrole TO helper")
    helper = Warehouse(place.admin.url.set(username="helper", password="helper"))
    with pytest.raises(SetupFault, match=r"helper may not change these roles .*ADMIN OPTION"):
        add_person(helper, NewPerson("unlucky", (MINE,)), PASSWORD, "boss", ZONE)
    helper.dispose()
    assert place.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'unlucky'") == [(0,)]


def test_a_warehouse_that_is_not_migrated_is_said(owned: Place) -> None:
    with connect(owned.server.superuser_url("postgres")) as connection:
        connection.autocommit = True
        connection.execute("CREATE DATABASE empty")
    empty = Warehouse(owned.server.superuser_url("empty"))
    for ask in (lambda: add_person(empty, NewPerson("early", (MINE,)), PASSWORD, "boss", ZONE), lambda: list_people(empty)):
        with pytest.raises(SetupFault, match="ndc migrate"):
            ask()
    empty.dispose()


# ---------------------------------------------------------------- ndc sql as somebody


def refusal(place: Place, login: str, sql: str, password: str = PASSWORD) -> Message:
    with pytest.raises(SetupFault) as caught:
        query_rows(place.admin.url.set(username=login, password=password), sql)
    return caught.value.message


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT 1; COMMIT; DROP TABLE x", "one statement at a time"),
        ("COPY (SELECT 1) TO STDOUT", r"\copy"),
        ("/* a */ COPY (SELECT 1) TO STDOUT", r"\copy"),
        ("SELECT * FROM control.access_change", "ndc access why-empty"),
        (f"CREATE TABLE {WORKSPACE}.x (a int)", "only reads"),
        ("SELEKT 1", "syntax error"),
        ("SELECT 1/0", "division by zero"),
    ],
)
def test_a_query_that_is_refused_is_answered_with_one_sentence(owned: Place, sql: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert said in refusal(owned, owned.add(MINE).login, sql).en
    assert not caplog.records  # nor does the driver complain beside it


def test_restricted_columns_are_pointed_to(owned: Place) -> None:
    message = refusal(owned, owned.add("centre").login, "SELECT * FROM personal.clinic")
    for said in (message.vi, message.en):
        assert "personal.<" in said and "_in_clear" in said and "ndc access why-empty" in said


def test_a_query_that_takes_too_long_and_a_refused_login_are_no_fault_of_the_machine(owned: Place) -> None:
    login = owned.add("public").login
    with owned.connect(login) as connection:
        connection.execute(f"ALTER ROLE {login} SET statement_timeout = '50ms'".encode())
    assert "took longer" in refusal(owned, login, "SELECT pg_sleep(5)").en
    assert "refused the login" in refusal(owned, login, "SELECT 1", "wrong").en
    owned.disable(login)
    assert "not permitted to log in" in refusal(owned, login, "SELECT 1").en


@pytest.mark.parametrize("is_embedded", [True, False])
def test_an_address_that_is_shown_to_others_holds_nobodys_password(owned: Place, is_embedded: bool) -> None:
    logins = Logins(owned.home, None if is_embedded else owned.admin.url.render_as_string(hide_password=False), TEST_SETTINGS)
    url = logins.person_url("an", None)
    assert (url.username, url.password, url.port) == ("an", None, owned.admin.url.port)
    assert logins.person_url("an", "x").password == "x"


# ---------------------------------------------------------------- the command


@dataclass
class Command:
    environment: dict[str, str]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ndc = [sys.executable, "-c", "from etl.cli import main; main()"]
        return subprocess.run(
            [*ndc, *arguments], capture_output=True, text=True, env=self.environment | environment, stdin=subprocess.DEVNULL, check=False
        )


@pytest.fixture
def command(owned: Place) -> Command:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NDC_", "PG"))}
    settings = owned.site.settings
    url = owned.admin.url.render_as_string(hide_password=False)
    return Command(
        kept
        | {
            "NDC_HOME": str(settings.home),
            "NDC_WAREHOUSE_URL": url,
            "NDC_ACCESS": str(settings.access),
            "NDC_CONTRACTS": str(settings.contracts),
        }
        | {"PYTHONPATH": str(ROOT)}
    )


def test_from_add_to_disable_by_the_command(command: Command, owned: Place) -> None:
    login = f"clerk{next(_numbers)}"
    added = command.run("people", "add", login, "--role", MINE, "--name", "Lê Thị Hoa", "--by", "chief", "--json")
    facts = json.loads(added.stdout)
    assert (facts["groups"], facts["name"]) == ([MINE], "Lê Thị Hoa")
    assert owned.admin.url.password not in added.stdout
    asked = command.run("sql", "--login", login, "SELECT current_user AS me", "--json", PGPASSWORD=facts["password"])
    assert json.loads(asked.stdout) == [{"me": login}]
    renewed = json.loads(command.run("people", "password", login, "--json").stdout)["password"]
    assert command.run("sql", "--login", login, "SELECT 1", PGPASSWORD=facts["password"]).returncode == 3
    assert command.run("sql", "--login", login, "SELECT 1", PGPASSWORD=renewed).returncode == 0
    nobody_to_ask = command.run("sql", "--login", login, "SELECT 1")
    assert nobody_to_ask.returncode == 3 and "PGPASSWORD" in nobody_to_ask.stderr
    assert login in {p["login"] for p in json.loads(command.run("people", "list", "--json").stdout)}
    assert "Lê Thị Hoa" in command.run("people", "list").stdout
    disabled = json.loads(command.run("people", "disable", login, "--reason", "left", "--json").stdout)
    assert disabled["groups"] == [MINE]
    assert command.run("sql", "--login", login, "SELECT 1", PGPASSWORD=renewed).returncode == 3
    assert owned.ask("SELECT actor FROM control.access_change WHERE what = 'grantee insert' AND after ->> 'id' = %s", login) == [("chief",)]


def test_the_command_shows_the_password_once_and_refuses_in_two_languages(command: Command) -> None:
    login = f"clerk{next(_numbers)}"
    tried = command.run("people", "add", login, "--role", MINE, "--dry-run")
    assert tried.returncode == 0 and "shown this once" not in tried.stdout
    added = command.run("people", "add", login, "--role", MINE)
    assert added.returncode == 0 and "shown this once" in added.stdout
    again = command.run("people", "add", login, "--role", MINE)
    assert again.returncode == 3 and "is taken" in again.stderr and "đã có" in again.stderr
