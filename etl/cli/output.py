"""What commands print: tables for people, JSON for machines, progress on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.watch import Watch
from expectations.faults import Fault, Message

if TYPE_CHECKING:
    from rich.console import Console

    from etl.run import Progress
    from etl.site import Site

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def open_site() -> Site:
    """The installation that the environment describes."""
    from etl.settings import read_settings
    from etl.site import Site

    return Site(read_settings(os.environ))


def console(*, to_errors: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=to_errors, highlight=False, soft_wrap=not sys.stdout.isatty())


def say(message: Message, *, to_errors: bool = False) -> None:
    """A message in both languages."""
    from rich.markup import escape

    out = console(to_errors=to_errors)
    out.print(escape(message.vi))
    out.print(f"[dim]{escape(message.en)}[/dim]")


def say_fault(fault: Fault) -> None:
    from rich.markup import escape

    out = console(to_errors=True)
    out.print(f"[bold red]✗[/bold red] {escape(fault.message.vi)}")
    out.print(f"  {escape(fault.message.en)}")


def print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=1))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Rows as a table; columns named in `right` are numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text("" if cell is None else _number(cell)) for cell in row))
    out = console()
    if not out.is_terminal:
        out.width = 200
    out.print(table)


def _number(cell: Any) -> str:
    if isinstance(cell, Decimal):
        cell = int(cell) if cell == cell.to_integral_value() else float(cell)
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.6g}" if abs(cell) < 1000 else f"{cell:,.1f}"


STATE_WORDS: Mapping[str, tuple[str, str]] = {
    "received": ("đã nhận, chưa xong", "cyan"),
    "held": ("tạm giữ", "yellow"),
    "returned": ("trả lại", "red"),
    "loaded": ("đã nạp", "green"),
    "stored": ("đã nạp", "green"),
    "superseded": ("đã thay thế", "dim"),
    "unchanged": ("không đổi", "dim"),
}


def state_text(state: str) -> Any:
    """A state in both languages and a colour; the words say it alone, too."""
    from rich.text import Text

    vi, colour = STATE_WORDS[state]
    return Text(f"{state} · {vi}", style=colour)


def progress_bar(is_shown: bool) -> Progress:
    """Progress on standard error: a bar on a terminal, a line now and then elsewhere."""
    from etl.run import Progress

    if not is_shown:
        return Progress()
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    class Shown(Progress):
        def __init__(self) -> None:
            self._out = console(to_errors=True)
            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=self._out, transient=True, disable=not self._out.is_terminal
            )  # fmt: skip
            self._task = self._bar.add_task("", total=None)
            self._done = self._total = 0

        def start(self, total: int) -> None:
            self._total = total
            self._bar.start()
            self._bar.update(self._task, total=total)

        def begin(self, name: str) -> Watch:
            self._bar.update(self._task, description=name[:40])
            return Watch(on_lines=lambda count: self._bar.update(self._task, description=f"{name[:28]} {count:,}"))

        def end(self) -> None:
            self._done += 1
            self._bar.advance(self._task)
            if not self._out.is_terminal and (self._done == self._total or self._done % 25 == 0):
                self._out.print(f"{self._done}/{self._total}")
            if self._done == self._total:
                self._bar.stop()

    return Shown()


def shown(program: str) -> str:
    """A program of this environment as one would type it here."""
    path = Path(sys.executable).parent / program
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
