"""Where the benchmark runs: a private server, a contract of 14 rules, and invented files, all under `.bench/`.

Answers for: the same seeded lines for all contenders, made once; the pipeline's own installation, so that what is measured is what
runs at night. Refuses: measuring.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from etl.sample import write_sample
from etl.settings import ROOT, read_settings
from etl.site import Site
from expectations.contract import Contract, Numbers
from expectations.period import Period
from warehouse import ledger
from warehouse.access.load import group_grantees
from warehouse.ledger import Delivery
from warehouse.migrate import migrate
from warehouse.tables import quoted

BENCH = ROOT / ".bench"
SENDER = "ha-noi"
PERIOD, WARM_UP = Period(date(2025, 7, 1), "month"), Period(date(2025, 6, 1), "month")
NOW = datetime(2026, 11, 25, tzinfo=UTC)
FAULTS = 0.005
SEED = 7


def open_site() -> Site:
    """The installation, with production settings and the benchmark's contract."""
    return Site(read_settings({"NDC_HOME": str(BENCH / "home"), "NDC_CONTRACTS": str(ROOT / "benchmarks" / "contracts")}))


def prepare(site: Site) -> None:
    """Have server, roles, ledger and tables."""
    site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())
    migrate(site.warehouse, site.contracts, site.registry, site.access)


def contract_of(site: Site) -> Contract:
    (contract,) = site.contracts.values()
    return contract


def file_of(site: Site, rows: int, period: Period = PERIOD) -> str:
    """The archived name of an invented delivery with faults."""
    name = f"{SENDER}/{rows}-{period}.csv"
    local = Path(site.archive.path(name))
    if not local.exists():
        local.parent.mkdir(parents=True, exist_ok=True)
        write_sample(contract_of(site), site.registry, SENDER, period, rows, FAULTS, SEED, local)
    return name


def clean_twin_of(site: Site, rows: int) -> Path:
    """The same lines without faults, dates and numbers written as PostgreSQL reads them."""
    twin = BENCH / f"{rows}-clean.csv"
    if not twin.exists():
        contract = contract_of(site)
        plain = {"date": ("yyyy-MM-dd",), "timestamp": ("yyyy-MM-dd HH:mm:ss",)}
        fields = tuple(replace(f, formats=plain.get(f.type, f.formats)) for f in contract.fields)
        layout = replace(contract.layout, numbers=Numbers())
        write_sample(replace(contract, fields=fields, layout=layout), site.registry, SENDER, PERIOD, rows, 0, SEED, twin)
    return twin


def enter(site: Site, name: str, period: Period = PERIOD) -> Delivery:
    """A delivery as the ledger has it when its bytes are archived and nothing else is done."""
    contract = contract_of(site)
    draft = Delivery(
        delivery_id=0,
        sender=SENDER,
        dataset=contract.dataset,
        province_id=SENDER,
        period=period.start,
        sheet=None,
        by_line=False,
        file_name=Path(name).name,
        sha256="",
        size_bytes=Path(site.archive.path(name)).stat().st_size,
        archive_path=name,
        contract_sha256=contract.sha256,
        state="received",
        received_at=NOW,
    )
    with site.warehouse.transaction() as connection:
        return ledger.open_delivery(connection, draft)


def forget(site: Site) -> None:
    """Take all deliveries out again, so that the next one is a first one. The checkpoint leaves nobody another's writes."""
    import psycopg

    assert site.logins.server is not None
    url = site.logins.server.superuser_url().set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        leaves = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'parts'::regnamespace AND relkind = 'r'")
        for (leaf,) in leaves.fetchall():
            connection.execute(f"DROP TABLE parts.{quoted(leaf)}".encode())
        connection.execute("TRUNCATE control.delivery, control.rejection, control.reconciliation, control.decision")
        connection.execute("CHECKPOINT")
