"""One real PostgreSQL for each worker of the suite, a fresh database and home for each test that asks for a `site`."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from etl.settings import Settings, read_settings
from etl.site import Site
from warehouse.access.grantees import Grantee
from warehouse.access.load import group_grantees
from warehouse.embedded import TEST_SETTINGS, Server
from warehouse.engine import Warehouse
from warehouse.logins import ANALYST, PIPELINE_GROUPS, SERVICE, TASK
from warehouse.migrate import migrate, prepare_roles
from warehouse.roles import ensure_login

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
PSEUDONYM_KEY = "the same for all homes, so that their rows can be compared"
_PASSWORD = "only-for-tests"
_numbers = itertools.count(1)
_templates: dict[int, set[str]] = {}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A private server without durability, removed at the end."""
    running = Server(tmp_path_factory.mktemp("postgres"), settings=TEST_SETTINGS)
    running.start()
    yield running
    running.destroy()


class FixedLogins:
    """Logins of a test's own database."""

    def __init__(self, server: Server, database: str) -> None:
        self._server, self._database = server, database
        self.server = None

    def administrator(self) -> Warehouse:
        return Warehouse(self._server.superuser_url(self._database))

    def prepare(self, grantees: Iterable[Grantee] = (), day: date = date.max) -> None:
        admin = self.administrator()
        prepare_roles(admin, grantees, day)
        with admin.engine.begin() as connection:
            for name, groups in PIPELINE_GROUPS.items():
                ensure_login(connection, name, _PASSWORD, groups, inherits=False)
            ensure_login(connection, ANALYST, _PASSWORD, ("ndc_centre",), inherits=True)
        admin.dispose()

    def pipeline(self) -> Warehouse:
        return Warehouse(self._server.superuser_url(self._database).set(username=SERVICE, password=_PASSWORD))

    def task(self) -> Warehouse:
        return Warehouse(self._server.superuser_url(self._database).set(username=TASK, password=_PASSWORD))

    def analyst_url(self) -> object:
        return self._server.superuser_url(self._database).set(username=ANALYST, password=_PASSWORD)


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[..., str]]:
    """Makes databases that are dropped after the test."""
    made: list[str] = []

    def make(template: str = "template1") -> str:
        name = f"t{next(_numbers)}"
        as_superuser(server, f"CREATE DATABASE {name} TEMPLATE {template}")
        made.append(name)
        return name

    yield make
    for name in made:
        as_superuser(server, f"DROP DATABASE {name} WITH (FORCE)")


def as_superuser(server: Server, sql: str) -> None:
    """One statement that only the server's superuser may run."""
    import psycopg

    with psycopg.connect(
        server.superuser_url("postgres").set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(sql.encode())


@pytest.fixture
def new_site(server: Server, new_database: Callable[..., str], tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes migrated installations: `new_site(contracts=folder, reference=folder)`."""
    made: list[Site] = []

    def make(contracts: Path | None = None, reference: Path | None = None, name: str = "home", access: Path | None = None) -> Site:
        settings = read_settings({"NDC_HOME": str(tmp_path / name), "NDC_PSEUDONYM_KEY": PSEUDONYM_KEY})
        settings = replace(
            settings,
            contracts=contracts or settings.contracts,
            reference=reference or settings.reference,
            access=access or settings.access,
            settle_seconds=0,
        )
        site = site_on(server, new_database(_migrated(server, settings)), settings)
        site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())
        made.append(site)
        return site

    yield make
    for site in made:
        site.warehouse.dispose()


def _migrated(server: Server, settings: Settings) -> str:
    """A database migrated by these contracts, registry and delegations, to be copied; made once for each set of them."""
    folders = (settings.contracts, settings.reference, settings.access)
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.suffix in (".yaml", ".csv"))
    name = "like_" + hashlib.sha256(b"".join(str(f.name).encode() + f.read_bytes() for f in files)).hexdigest()[:16]
    if name not in _templates.setdefault(id(server), set()):
        as_superuser(server, f"CREATE DATABASE {name}")
        site = site_on(server, name, settings)
        try:
            site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())
            migrate(site.warehouse, site.contracts, site.registry, site.access)
        except BaseException:
            site.warehouse.dispose()
            as_superuser(server, f"DROP DATABASE {name} WITH (FORCE)")
            raise
        site.warehouse.dispose()
        _templates[id(server)].add(name)
    return name


def site_on(server: Server, database: str, settings: Settings) -> Site:
    """An installation on a database of the test's server."""
    site = Site(settings)
    site.__dict__["logins"] = FixedLogins(server, database)
    return site
