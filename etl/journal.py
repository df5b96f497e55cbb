"""The ledger's own copy beside the archive, so that a warehouse that is lost can be made again.

One JSON file for each delivery, replaced as the delivery goes on, and one for each contract that judged any. Holds no values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from etl.store import Store
from expectations.faults import Message
from warehouse.ledger import Delivery, Reason

_LEDGER, _CONTRACTS = "_ledger", "_contracts"


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery as the ledger had it, and what people decided about it."""

    delivery: Delivery
    decisions: tuple[Mapping[str, Any], ...]


def write_entry(archive: Store, delivery: Delivery, decisions: list[Mapping[str, Any]]) -> None:
    """Write down a delivery as it stands."""
    said = asdict(delivery) | {
        "reasons": [r.as_json() for r in delivery.reasons],
        "notices": [n.as_json() for n in delivery.notices],
        "decisions": [dict(d) for d in decisions],
    }
    del said["reported_at"]
    archive.put_bytes(f"{_LEDGER}/{delivery.delivery_id:010}.json", json.dumps(said, default=str, ensure_ascii=False, indent=1).encode())


def keep_contract(archive: Store, sha256: str, text: str) -> None:
    """Keep a contract word for word; it is written once."""
    name = f"{_CONTRACTS}/{sha256}.odcs.yaml"
    if not archive.exists(name):
        archive.put_bytes(name, text.encode())


def contract_text(archive: Store, sha256: str) -> str | None:
    """A contract that judged a delivery, or None when the archive does not have it."""
    name = f"{_CONTRACTS}/{sha256}.odcs.yaml"
    return archive.read_bytes(name).decode() if archive.exists(name) else None


def highest_number(archive: Store) -> int:
    """The highest number of a delivery that the archive's ledger knows; 0 when it knows none."""
    return max((int(name.rpartition("/")[2].removesuffix(".json")) for name in archive.names(_LEDGER)), default=0)


def read_entries(archive: Store) -> Iterator[Entry]:
    """All deliveries in the order in which they came."""
    for name in archive.names(_LEDGER):
        said = json.loads(archive.read_bytes(name))
        decisions = [d | {"decided_at": datetime.fromisoformat(d["decided_at"])} for d in said.pop("decisions")]
        for key in ("reasons", "notices"):
            said[key] = tuple(Reason(r["rule"], Message(r["vi"], r["en"])) for r in said[key])
        said["period"] = date.fromisoformat(said["period"]) if said["period"] else None
        said["received_at"] = datetime.fromisoformat(said["received_at"])
        yield Entry(Delivery(**said), tuple(decisions))
