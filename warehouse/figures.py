"""National figures: what a dataset's additive measures add up to, beside what senders declare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from expectations.contract import Contract
from warehouse.tables import quoted, rows_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Figure:
    """The sum of one measure over all rows of a period; `declared` is the sender's own total, or None."""

    dataset: str
    period: date
    measure: str
    unit: str
    computed: float
    declared: float | None
    ties: bool | None


def national_figures(connection: Connection, contract: Contract) -> list[Figure]:
    """One figure for each period and additive measure. What is not additive is never summed and has none."""
    from sqlalchemy import text

    fields = [f for f in contract.additive_fields if f.measure]
    if not fields:
        return []
    sums = ", ".join(f"sum({quoted(f.name)})::float8" for f in fields)
    rows = connection.execute(
        text(f"SELECT period, {sums} FROM {rows_of(contract, [f.name for f in fields])} r GROUP BY period ORDER BY period")
    )
    declared = {
        (period, measure): (total, ties)
        for period, measure, total, ties in connection.execute(
            text(
                "SELECT DISTINCT ON (r.period, r.measure) r.period, r.measure, r.declared, r.ties FROM control.reconciliation r "
                "JOIN control.delivery d USING (delivery_id) WHERE r.is_total AND d.state IN ('loaded', 'stored') AND (r.dataset = :dataset OR r.target = :dataset) "
                "ORDER BY r.period, r.measure, r.delivery_id DESC"
            ),
            {"dataset": contract.dataset},
        )
    }
    figures = []
    for period, *values in rows:
        for f, value in zip(fields, values, strict=True):
            if value is not None and f.measure:
                total, ties = declared.get((period, f.name), (None, None))
                figures.append(Figure(contract.dataset, period, f.name, f.measure.unit, value, total, ties))
    return figures
