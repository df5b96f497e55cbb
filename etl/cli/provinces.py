"""Commands about provinces: list on a day, resolve spellings and codes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import typer

from etl.cli.output import Json, open_site, print_json, print_table

app = typer.Typer(help="The dated registry of provinces. Danh mục tỉnh theo thời gian.", no_args_is_help=True)
Day = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="The day; by default today.")]


@app.command("list")
def list_provinces(on: Day = None, as_json: Json = False) -> None:
    """The provinces of a day. Các tỉnh của một ngày."""
    day = on.date() if on else date.today()
    found = open_site().registry.on(day)
    if as_json:
        print_json(found)
        return
    rows = [(p.province_id, p.full_name, p.unit_type, str(p.valid_from), str(p.valid_to or ""), p.legal_basis) for p in found]
    print_table(f"{len(rows)} provinces on {day}", ("province_id", "name", "type", "from", "to", "legal basis"), rows)


@app.command("resolve")
def resolve(
    text: Annotated[list[str], typer.Argument(help="Spellings, or codes with --code-system.")],
    on: Day = None,
    code_system: Annotated[str | None, typer.Option(help="The system of the codes; without it, text is a spelling.")] = None,
    as_json: Json = False,
) -> None:
    """Which province a spelling or code means on a day; never a guess. Tra tên hoặc mã tỉnh."""
    day = on.date() if on else date.today()
    registry = open_site().registry
    found = [(t, registry.resolve(t, day, code_system)) for t in text]
    if as_json:
        print_json([{"text": t, "province_id": r.province_id, "candidates": r.candidates, "note": r.note} for t, r in found])
    else:
        rows = [
            (t, r.province_id or "—", ", ".join(c.province_id for c in r.candidates), f"{r.note.vi}\n{r.note.en}" if r.note else "")
            for t, r in found
        ]
        print_table(f"As of {day}", ("text", "province_id", "nearest", "note"), rows)
    if any(r.province_id is None for _, r in found):
        raise typer.Exit(1)
