"""The command `sample`: realistic seeded files for a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl.cli.output import console, open_site


def add_to(app: typer.Typer) -> None:
    app.command()(sample)


def sample(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    period: Annotated[str, typer.Option(help="2025, 2025-Q2, 2025-06 or 2025-06-10.")],
    province: Annotated[str | None, typer.Option(help="The province_id that sends it.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many lines.")] = 100,
    faults: Annotated[float, typer.Option(min=0, max=1, help="Share of the lines that get a fault.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The file; by default a name of the contract's pattern, here.")] = None,
    truth: Annotated[bool, typer.Option("--truth", help="Also write which lines got which fault.")] = False,
) -> None:
    """Write an invented file that a contract accepts, but for the faults asked for. Tạo tệp mẫu."""
    from etl.run import period_for
    from etl.sample import write_sample
    from expectations.faults import Message, SetupFault

    site = open_site()
    contract = site.contracts.get(dataset)
    if contract is None:
        raise SetupFault(Message(f"Không có tập dữ liệu «{dataset}».", f"There is no dataset '{dataset}'."))
    chosen = period_for(site, dataset, Path(), "", period)
    assert chosen is not None
    file = out or Path(contract.file_names[0].example(chosen, None) + ".csv")
    written = write_sample(contract, site.registry, province, chosen, rows, faults, seed, file, truth=truth)
    console().print(f"{file}: {rows} lines, {sum(len(lines) for lines in written.faults.values())} faults · {rows} dòng")
