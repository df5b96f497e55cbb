"""The command `ndc status`: who has delivered, who is late, and how often deliveries are right at the first try.

Answers for: a matrix of sender and period for one dataset, counts and names for several; a page that stands alone. Whether something is
missing is no exit code: to look is not to fail. The periods that have ended meanwhile are written into the calendar first.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table
from expectations.faults import Message, SetupFault

if TYPE_CHECKING:
    from rich.text import Text

    from etl.site import Site
    from etl.status import Matrix, Overview, Wanted
    from warehouse.engine import Connection

_NAME_WIDTH, _CELL_WIDTH = 30, 6
_NAMED = 12


def add_to(app: typer.Typer) -> None:
    app.command()(status)


def status(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset: who sent what, period by period.")] = None,
    period: Annotated[str | None, typer.Option(help="2025, 2025-Q2, 2025-06 or 2025-06-10.")] = None,
    sender: Annotated[str | None, typer.Option(help="Only this sender: a province_id, or the name of a central body.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page that stands alone to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Who has delivered and who is late. Ai đã gửi, ai còn thiếu."""
    from etl.status import overviews, write_status_file

    site = open_site()
    wanted = _wanted(site, dataset, sender, period)
    with site.warehouse.transaction() as connection:
        _bring_up(site, connection)
        all_told = overviews(site, connection, wanted)
        if as_json and html is None:
            print_json(_facts(connection, wanted, all_told))
        elif html is None:
            _show(site, connection, wanted, all_told)
    if html is not None:
        write_status_file(site, wanted, html)
        print_json({"page": str(html)}) if as_json else console().print(str(html), markup=False, soft_wrap=True)


def _bring_up(site: Site, connection: Connection) -> None:
    """The calendar as the clock has it."""
    from etl.calendar import freeze
    from etl.cli.deliveries import now_of
    from warehouse.migrate import check_migrated

    check_migrated(connection, site.contracts)
    freeze(connection, site.contracts, site.registry, now_of(site), site.settings.timezone)


def _wanted(site: Site, dataset: str | None, sender: str | None, period: str | None) -> Wanted:
    from etl.status import Wanted, check_dataset

    if dataset is not None:
        check_dataset(site, dataset)
    if sender is not None and not site.registry.exists(sender) and all(c.sender != sender for c in site.contracts.values()):
        raise SetupFault(Message(f"Không có đơn vị gửi «{sender}».", f"There is no sender '{sender}'."), rule="no-sender")
    return Wanted(dataset, sender, _first_day(site, dataset, period) if period else None)


def _first_day(site: Site, dataset: str | None, text: str) -> date:
    from expectations.period import parse_period

    contracts = [site.contracts[dataset]] if dataset else site.contracts.values()
    for contract in contracts:
        if found := parse_period(text, contract.periodicity):
            return found.start
    raise SetupFault(
        Message(
            f"Không hiểu kỳ «{text}»; viết 2025, 2025-Q2, 2025-06 hoặc 2025-06-10, như tập dữ liệu có.",
            f"The period '{text}' is not understood; write 2025, 2025-Q2, 2025-06 or 2025-06-10, as the dataset has it.",
        ),
        rule="period",
    )


# ---------------------------------------------------------------- for people


def _show(site: Site, connection: Connection, wanted: Wanted, all_told: list[Overview]) -> None:
    from dataclasses import replace

    from etl.status import matrix

    if not all_told:
        console().print("Chưa có kỳ nào trong lịch và chưa có đợt gửi nào. · No period is in the calendar yet, and nothing was delivered.")
    elif wanted.dataset or len(all_told) == 1:
        fitting = max(1, (_width() - _NAME_WIDTH - 9) // _CELL_WIDTH)
        _show_matrix(matrix(site, connection, all_told[0].dataset, replace(wanted, last=fitting)))
        _show_missing(all_told[0])
    else:
        _show_overviews(all_told)
        for one in all_told:
            _show_missing(one)


def _show_overviews(all_told: list[Overview]) -> None:
    from rich.text import Text

    from etl.status import SIGNS

    states = [state for state in SIGNS if any(state in one.by_state for one in all_told)]
    columns = ("dataset", *(SIGNS[state].sign for state in states), "✓ 1st")
    rows = [(Text(one.dataset), *(Text(_count(one, state), style=SIGNS[state].colour) for state in states), one.right) for one in all_told]
    print_table("Deliveries by state, all periods · Đợt gửi theo tình trạng, mọi kỳ", columns, rows, right=columns[1:])
    _explain(set(states), set())
    console().print("[dim]✓ 1st: đúng ngay lần gửi đầu · first time right[/dim]")


def _count(one: Overview, state: Any) -> str:
    return f"{one.by_state[state]:,}" if state in one.by_state else ""


def _show_matrix(one: Matrix) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"{one.label} ({one.dataset})", title_justify="left", title_style="bold", header_style="bold", box=None, padding=(0, 1)
    )
    table.add_column("", no_wrap=True, max_width=_NAME_WIDTH)
    for period in one.periods:
        year, _, part = period.rpartition("-")
        table.add_column(f"{year}\n{part}" if year else period, justify="center", no_wrap=True)
    table.add_column("✓ 1st", justify="right", no_wrap=True)
    for row in one.rows:
        table.add_row(Text(row.name), *(_cell_text(cell) for cell in row.cells), row.right)
    out = console()
    out.width = _width()
    out.print(table)
    cells = [cell for row in one.rows for cell in row.cells if cell]
    _explain({cell.state for cell in cells}, {sign for cell in cells for sign in cell.signs[1:]})
    console().print("[dim]✓ 1st: đúng ngay lần gửi đầu, mọi kỳ · first time right, all periods[/dim]")
    if one.left_out:
        console().print(f"[dim]… {one.left_out} older periods · kỳ cũ hơn: --html, --period[/dim]")


def _cell_text(cell: Any) -> Text:
    from rich.text import Text

    from etl.status import SIGNS

    return Text(cell.signs, style=SIGNS[cell.state].colour) if cell else Text("")


def _explain(states: set[Any], signs: set[str]) -> None:
    """What the signs that were printed mean."""
    from rich.text import Text

    from etl.status import MARKS, SIGNS

    for state, one in SIGNS.items():
        if state in states:
            console().print(Text(f"  {one.sign}  ", style=one.colour), f"{one.words.vi} [dim]· {one.words.en}[/dim]", sep="")
    for mark, words in MARKS.items():
        if set(mark) <= signs:
            console().print(Text(f"  {mark:<3}"), f"{words.vi} [dim]· {words.en}[/dim]", sep="")


def _show_missing(one: Overview) -> None:
    """Who is late, by name."""
    from rich.markup import escape

    if not one.missing:
        return
    more = f" … (+{len(one.missing) - _NAMED}; --dataset {one.dataset})" if len(one.missing) > _NAMED else ""
    names = escape(", ".join(one.missing[:_NAMED]) + more)
    console().print(f"[bold red]○ {one.dataset} {one.due_period}[/bold red] {len(one.missing)} chưa gửi · missing: {names}")


def _width() -> int:
    out = console()
    return out.width if out.is_terminal else 200


# ---------------------------------------------------------------- for machines


def _facts(connection: Connection, wanted: Wanted, all_told: list[Overview]) -> dict[str, Any]:
    """Counts of each dataset; the lines themselves only where something narrows them."""
    from dataclasses import asdict

    from warehouse import calendar

    facts: dict[str, Any] = {"at": calendar.moment(connection), "datasets": [asdict(one) for one in all_told]}
    if wanted.dataset or wanted.sender or wanted.period:
        facts["lines"] = calendar.statuses(connection, **wanted.lines(wanted.dataset))
    return facts
