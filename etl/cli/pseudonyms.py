"""Commands about pseudonyms and their key: status, fill, rotate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.site import Site
    from warehouse.pseudonyms import Recomputed
    from warehouse.tables import DatasetTable

app = typer.Typer(help="What stands for personal identifiers, and the key that makes it. Bí danh và khoá của chúng.", no_args_is_help=True)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be computed; change nothing.")]


@app.command()
def status(as_json: Json = False) -> None:
    """Which key holds and since when, and which columns are made by it. Khoá đang dùng và các cột bí danh."""
    from warehouse.pseudonym_key import current_key
    from warehouse.pseudonyms import to_compute

    site = open_site()
    with site.warehouse.transaction() as connection:
        current = current_key(connection)
        here = site.pseudonym_key.find(current.fingerprint if current else None)
        missing = [to_compute(connection, table, only_missing=True) for table in _tables(site)]
    facts = {
        "fingerprint": current.fingerprint if current else None,
        "since": current.since if current else None,
        "key_here": "missing" if here is None else "fits" if current is None or here.fingerprint == current.fingerprint else "another",
        "datasets": [{"dataset": m.dataset, "columns": m.columns, "rows_without": m.rows} for m in missing],
    }
    if as_json:
        print_json(facts)
        return
    console().print(
        f"key {facts['fingerprint']} since {facts['since']}; the key here: {facts['key_here']} · khoá trong kho và khoá ở đây"
        if current
        else "no key yet; the first load makes one · chưa có khoá, lần nạp đầu tiên sẽ tạo"
    )
    _show("Pseudonyms · Bí danh", "rows without · dòng chưa có", missing)


@app.command()
def fill(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Compute the pseudonyms that rows do not have yet, of a field that got them later. Tính bí danh còn thiếu."""
    from warehouse.pseudonyms import fill as fill_missing

    site = open_site()
    _tell(_would(site, only_missing=True) if dry_run else fill_missing(site.warehouse, site.pseudonym_key, _tables(site)), as_json)


@app.command()
def rotate(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Change the key and compute every pseudonym anew; what people joined by the old ones no longer fits. Đổi khoá.

    With the key in NDC_PSEUDONYM_KEY: put the new one there, then run this; loads wait or refuse until it is done.
    """
    from warehouse.pseudonyms import rotate as change_key

    site = open_site()
    _tell(_would(site, only_missing=False) if dry_run else change_key(site.warehouse, site.pseudonym_key, _tables(site)), as_json)


def _tables(site: Site) -> list[DatasetTable]:
    return [table for tables in site.tables.values() for table in tables if table.pseudonyms]


def _would(site: Site, *, only_missing: bool) -> list[Recomputed]:
    from warehouse.pseudonyms import to_compute

    with site.warehouse.transaction() as connection:
        return [to_compute(connection, table, only_missing=only_missing) for table in _tables(site)]


def _tell(found: Sequence[Recomputed], as_json: bool) -> None:
    if as_json:
        print_json([{"dataset": one.dataset, "columns": one.columns, "rows": one.rows} for one in found])
    else:
        _show("Pseudonyms · Bí danh", "rows · dòng", found)


def _show(title: str, counted: str, found: Sequence[Recomputed]) -> None:
    rows = [(one.dataset, ", ".join(one.columns), one.rows) for one in found]
    print_table(title, ("dataset", "columns · cột", counted), rows, right=(counted,))
