"""The command `demo`: every example delivery, from its inbox to figures that an analyst can ask for."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.deliveries import now_of, show_deliveries
from etl.cli.output import Json, console, print_json, print_table, progress_bar, say, shown
from etl.cli.server import migrate_site
from etl.cli.sights import show_sights
from etl.cli.up import airflow_of, say_address, server_of
from etl.settings import ROOT, read_settings
from etl.triggers import ENDED
from expectations.faults import Message

if TYPE_CHECKING:
    from etl.run import Result
    from etl.scheduler import Address
    from etl.site import Site
    from warehouse.figures import Figure

EXAMPLES = ROOT / "examples"
MANY_PERIODS = 6


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def example_sites(environment: Mapping[str, str]) -> Iterator[tuple[str, Site, Path]]:
    """The installations of the demonstration with their example inbox: this one, and each further country of the examples.

    A further country is a folder with `contracts`, `reference`, `access` and `inbox`, chosen by settings alone.
    """
    from etl.site import Site

    settings = read_settings(environment)
    yield "", Site(settings), EXAMPLES / "inbox"
    for folder in sorted(EXAMPLES.iterdir()):
        if (folder / "contracts").is_dir():
            own = {
                "NDC_HOME": str(settings.home / folder.name),
                "NDC_CONTRACTS": str(folder / "contracts"),
                "NDC_REFERENCE": str(folder / "reference"),
                "NDC_ACCESS": str(folder / "access"),
            }
            yield folder.name, Site(read_settings(own)), folder / "inbox"


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop when everything is loaded and shown, not with Ctrl-C.")] = False,
    directly: Annotated[bool, typer.Option("--directly", help="Load without Airflow.")] = False,
    as_json: Json = False,
) -> None:
    """Load every example delivery by Airflow and show what came of it. A second run changes nothing. Chạy thử với dữ liệu mẫu."""
    (name, site, inbox), *others = example_sites(os.environ)
    if not as_json:
        console().print(f"[bold]{name or 'examples'}[/bold]: {site.settings.home}")
    if directly:
        shown = [(name, site, _load_directly(site, inbox, is_shown=not as_json)), *_load_others(others, as_json)]
        _show_all(shown, as_json)
    else:
        with ExitStack() as servers:
            for _, other, _ in others:
                servers.enter_context(server_of(other))
            address, stop = servers.enter_context(airflow_of(site))
            if not as_json:
                say_address(site, address)
            result = _load_by_airflow(site, inbox, address, stop, is_shown=not as_json)
            shown = [(name, site, result), *_load_others(others, as_json)]
            _show_all(shown, as_json)
            if not (once or as_json):
                console().print()
                say_address(site, address)
                stop.wait()
    if any(result.trouble for _, _, result in shown):
        raise typer.Exit(3)


def _load_others(others: list[tuple[str, Site, Path]], as_json: bool) -> Iterator[tuple[str, Site, Result]]:
    """The further countries, loaded in this process."""
    for name, site, inbox in others:
        if not as_json:
            console().print(f"[bold]{name}[/bold]: {site.settings.home}")
        yield name, site, _load_directly(site, inbox, is_shown=not as_json)


def _load_directly(site: Site, inbox: Path, *, is_shown: bool) -> Result:
    from etl.run import Only, run

    migrate_site(site)
    copy_inbox(inbox, site.settings.inbox)
    return run(site, Only(), lambda: now_of(site), progress_bar(is_shown))


def _load_by_airflow(site: Site, inbox: Path, address: Address, stop: threading.Event, *, is_shown: bool) -> Result:
    """Trigger the load of each dataset and wait for all; what came of it is what the ledger says."""
    from etl.run import Result, Trouble
    from etl.triggers import follow, logged_in, trigger
    from warehouse import ledger

    with site.warehouse.transaction() as connection:
        before = {d.delivery_id for d in ledger.all_in_order(connection) if d.reported_at}
    files = copy_inbox(inbox, site.settings.inbox)
    bar = progress_bar(is_shown)
    bar.start(len(files))
    told = 0

    def look(states: dict[str, str]) -> None:
        nonlocal told
        with site.warehouse.transaction() as connection:
            now_done = sum(1 for d in ledger.all_in_order(connection) if d.reported_at and d.delivery_id not in before)
        bar.begin(", ".join(dag_id for dag_id, state in states.items() if state not in ENDED))
        while told < min(now_done, len(files)):
            bar.end()
            told += 1

    try:
        with logged_in(address) as client:
            dag_ids = [*(f"load_{dataset}" for dataset in site.contracts), "load_unattributed"]
            states = follow(client, [(dag_id, trigger(client, dag_id)) for dag_id in dag_ids], look, stop.wait)
    finally:
        for _ in range(len(files) - told):
            bar.end()
    if stop.is_set():
        raise KeyboardInterrupt
    with site.warehouse.transaction() as connection:
        after = ledger.all_in_order(connection)
    sent = {(file.parts[0], file.name) for file in files}
    return Result(
        done=[d for d in after if d.reported_at and d.delivery_id not in before],
        unchanged=[d for d in after if d.delivery_id in before and (d.sender, d.file_name) in sent],
        trouble=[
            Trouble(dag_id, Message("Có tác vụ thất bại; xem nhật ký trong Airflow.", "A task failed; see its log in Airflow."))
            for dag_id, state in states.items()
            if state != "success"
        ],
    )


def _show_all(shown: Sequence[tuple[str, Site, Result]], as_json: bool) -> None:
    if as_json:
        print_json([_facts(name, site, result) for name, site, result in shown])
    else:
        for name, site, result in shown:
            _show(name, site, result)
        show_sights(shown[0][1])
        _say_how_to_go_on(shown[0][1])


def copy_inbox(source: Path, inbox: Path) -> list[Path]:
    """Put copies of the example files into an inbox, under a temporary name first, as a careful sender does; returns their places in it."""
    copied = []
    for file in sorted(source.glob("*/*/*")):
        if file.is_file() and not file.name.startswith("."):
            place = file.relative_to(source)
            target = inbox / place
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".part")
            shutil.copy2(file, partial)
            partial.replace(target)
            copied.append(place)
    return copied


def _facts(name: str, site: Site, result: Result) -> dict[str, object]:
    from etl.cli.deliveries import delivery_facts

    return {
        "country": name or None,
        "home": str(site.settings.home),
        "done": [delivery_facts(site, d) for d in result.done],
        "unchanged": len({d.delivery_id for d in result.unchanged}),
        "trouble": result.trouble,
        "figures": _figures(site),
    }


def _figures(site: Site) -> list[Figure]:
    from warehouse.figures import national_figures

    with site.warehouse.transaction() as connection:
        return [figure for contract in site.contracts.values() for figure in national_figures(connection, contract)]


def _figures_by_measure(site: Site) -> list[list[Figure]]:
    found = _figures(site)
    groups = dict.fromkeys((f.dataset, f.measure) for f in found)
    return [[f for f in found if (f.dataset, f.measure) == group] for group in groups]


def _show(name: str, site: Site, result: Result) -> None:
    from warehouse import ledger

    out = console()
    with site.warehouse.transaction() as connection:
        everything = ledger.all_in_order(connection)
        totals = ledger.reconciliations(connection)
    if result.done:
        show_deliveries(site, f"Deliveries · Các đợt gửi {name}".strip(), everything)
    else:
        out.print(
            f"[bold green]Nothing changed[/bold green]: all {len(result.unchanged)} files were delivered before · Không có gì thay đổi"
        )
    _show_figures(site)
    parts = [t for t in totals if not t["is_total"]]
    if parts:
        tied = sum(t["ties"] for t in parts)
        out.print(
            f"{tied} of {len(parts)} declared subtotals tie; the others are in control.reconciliation · {tied}/{len(parts)} tổng vùng khớp"
        )
    for trouble in result.trouble:
        out.print(f"[bold red]✗[/bold red] {trouble.where}")
        say(trouble.message)


def _show_figures(site: Site) -> None:
    """National figures beside declared ones: every period of a yearly dataset, the last one and a count of a longer series."""
    from expectations.period import Period

    rows = []
    for figures in _figures_by_measure(site):
        contract = site.contracts[figures[0].dataset]
        declared = [f for f in figures if f.ties is not None]
        is_long = len(figures) > MANY_PERIODS
        for f in figures[-1:] if is_long else figures:
            period = str(Period(f.period, contract.periodicity)) + (f" ({len(figures)} periods)" if is_long else "")
            difference = None if f.declared is None else 0.0 if f.ties else f.computed - f.declared
            mark = "" if f.ties is None else "✓ ties · khớp" if f.ties else "≠ differs · lệch"
            if is_long and declared:
                mark = f"{'✓' if all(d.ties for d in declared) else '≠'} {sum(bool(d.ties) for d in declared)}/{len(declared)} tie · khớp"
            rows.append((f.dataset, period, f.measure, f.unit, f.computed, f.declared, difference, mark))
    columns = ("dataset", "period", "measure", "unit", "national figure", "declared", "difference", "")
    if rows:
        print_table("National figures · Số liệu toàn quốc", columns, rows, right=("national figure", "declared", "difference"))


def _say_how_to_go_on(site: Site) -> None:
    """Lines to copy: an SQL query, psql, pandas. The password stays in its file."""
    url = site.logins.analyst_url().set(drivername="postgresql")
    password = site.settings.home / "secrets" / (url.username or "")
    central = next((c for c in site.contracts.values() if c.is_central and c.additive_fields), None)
    out = console()
    out.print("\n[bold]Go on · Làm tiếp[/bold]")
    if central is not None:
        measure = central.additive_fields[0].name
        query = (
            f"SELECT period, count(*) AS provinces, sum({measure}) AS total FROM national.{central.dataset} GROUP BY period ORDER BY period"
        )
        out.print(f'  {shown("ndc")} sql "{query}"', soft_wrap=True, markup=False)
    address = url._replace(password=None).render_as_string()
    out.print(f"  PGPASSWORD=$(cat {password}) psql '{address}'", soft_wrap=True, markup=False)
    driver = url.set(drivername="postgresql+psycopg")._replace(password=None).render_as_string()
    program = f"import pandas, sqlalchemy; print(pandas.read_sql('SELECT * FROM control.province', sqlalchemy.create_engine('{driver}')))"
    out.print(f'  PGPASSWORD=$(cat {password}) {shown("python")} -c "{program}"', soft_wrap=True, markup=False)
    out.print(f"  {shown('ndc')} verify", markup=False)
