"""Datasets that declare totals of another one: what they state beside what the other one adds up to.

Answers for: one comparison for each row and measure of the declaring dataset, written anew whenever either side is loaded.
"""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

from expectations.contract import Contract, Reconciles
from warehouse import ledger
from warehouse.ledger import Reconciliation
from warehouse.tables import dataset_table, quoted, rows_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EXACT = 1e-9


def across(connection: Connection, declaring: Contract, link: Reconciles, target: Contract, period: date) -> None:
    """Compare the declaring dataset's rows of a period with the target's sums, under the declaring deliveries' numbers.

    Does nothing while either side has no rows. The rows of a province that declares are compared with that province's.
    """
    from sqlalchemy import text

    shown = [d for d in ledger.all_shown(connection) if d.dataset == declaring.dataset and d.period == period]
    filled = connection.execute(
        text(f"SELECT EXISTS (SELECT FROM {dataset_table(target).name} WHERE period = :period)"), {"period": period}
    ).scalar()
    if not shown or not filled:
        return
    ours = rows_of(declaring, (*link.by, *link.measures))
    theirs = rows_of(target, (*link.by.values(), *link.measures.values()))
    same = "".join(f" AND t.{quoted(their)} IS NOT DISTINCT FROM d.{quoted(our)}" for our, their in link.by.items())
    if declaring.territory == "province":
        same += " AND t.province_id = d.province_id"
    label = " || ' ' || ".join(f"coalesce(d.{quoted(our)}::text, '')" for our in link.by) or "''"
    for delivery in shown:
        rows = []
        for our, their in link.measures.items():
            found = connection.execute(
                text(
                    f"SELECT {label}, d.line, d.{quoted(our)}::float8, "
                    f"coalesce((SELECT sum(t.{quoted(their)}) FROM {theirs} t WHERE t.period = d.period{same}), 0)::float8 "
                    f"FROM {ours} d WHERE d.period = :period AND d.delivery_id = :id AND d.{quoted(our)} IS NOT NULL ORDER BY d.line"
                ),
                {"period": period, "id": delivery.delivery_id},
            )
            measure = declaring.by_name[our].measure
            for scope, line, declared, computed in found:
                ties = math.isclose(declared, computed, rel_tol=_EXACT, abs_tol=_EXACT)
                rows.append(
                    Reconciliation(
                        f"{declaring.dataset} {scope}".strip(),
                        not link.by,
                        their,
                        measure.unit if measure else "",
                        line,
                        declared,
                        computed,
                        ties,
                    )
                )
        ledger.replace_reconciliations(connection, delivery, rows, target.dataset)
