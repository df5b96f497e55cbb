"""Who could see what on a day, and what a role sees: answered from what is written down.

Answers for: a past day is answered as it was, with delegations that have ended since and without those that came later.
Refuses: reading data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from expectations.faults import Message, SetupFault
from warehouse.access.grantees import AUDITOR, CENTRE
from warehouse.access.records import NEVER, Records, Row, Span, span


@dataclass(frozen=True, slots=True)
class Holding:
    """Somebody holds a delegation from the first to the last moment of `within`: the grantee, its heir, or a person of theirs."""

    holder: Row
    belongs_to: Row | None
    delegation: Row
    within: Span

    @property
    def inherited_from(self) -> str | None:
        """The province to whom it was given, where an heir took its place."""
        held_by: str = (self.belongs_to or self.holder)["id"]
        return None if held_by == self.delegation["grantee"] else self.delegation["grantee"]


def holdings(records: Records, when: Span) -> Iterator[Holding]:
    """Every delegation that was in force at some moment of `when`, with those who saw through it then."""
    for delegation in records.delegations:
        for holder, held in holders(records, delegation):
            within = held.meets(in_force(delegation))
            if within is None or not within.meets(when):
                continue
            yield Holding(holder, None, delegation, within)
            for member in records.memberships:
                if member["grantee"] == holder["id"]:
                    person = records.grantees[member["person"]]
                    together = _together(person, member, within)
                    if together and together.meets(when):
                        yield Holding(person, holder, delegation, together)


def in_force(delegation: Row) -> Span:
    """A delegation counts from its beginning or its entry, whichever is later, to its end or its revocation."""
    return span(max(delegation["from_at"], delegation["created_at"]), delegation["until_at"], delegation["revoked_at"])


def life(grantee: Row) -> Span:
    return span(grantee["valid_from"], grantee["valid_until"], grantee["ended_at"])


def _together(person: Row, member: Row, other: Span) -> Span | None:
    """When a person lived and belonged to a group, within another span."""
    belonged = span(member["since"], member["until"]).meets(life(person))
    return belonged and belonged.meets(other)


def holders(records: Records, delegation: Row) -> Iterator[tuple[Row, Span]]:
    """The grantee and, after a merger, those that take its place. Own rows do not pass on: an heir has its own."""
    for holder, held in line(records, delegation["grantee"]):
        if not delegation["is_own"] or holder["id"] == delegation["grantee"]:
            yield holder, held


def line(records: Records, grantee_id: str | None) -> Iterator[tuple[Row, Span]]:
    """A grantee, its heir, the heir's heir, each with its own time. Nothing passes on from one that was taken out of the registry."""
    known = span(None)
    grantee = records.grantees.get(grantee_id or "")
    while grantee is not None:
        known = Span(known.start, min(known.end, grantee["ended_at"] or NEVER))
        held = span(grantee["valid_from"], grantee["valid_until"]).meets(known)
        if held:
            yield grantee, held
        grantee = records.grantees.get(grantee["heir_id"] or "")


def parties_of(records: Records, grantee: Row, when: Span) -> Iterator[Row]:
    """A grantee itself and, for a person, those to whom it belonged at some moment of `when`; none of those that did not live."""
    if life(grantee).meets(when):
        yield grantee
    for member in records.memberships:
        group = records.grantees[member["grantee"]]
        together = _together(grantee, member, when) if member["person"] == grantee["id"] else None
        if together and together.meets(life(group)):
            yield group


def clear_fields(delegation: Row, dataset: Row) -> tuple[str, ...]:
    """The restricted fields of a dataset that a delegation shows in clear."""
    named = delegation["in_clear"]
    return tuple(f for f in dataset["restricted"] if named is None or f"{dataset['dataset']}.{f}" in named)


def covers(delegation: Row, dataset: Row, province: str | None = None, commune: str | None = None, column: str | None = None) -> bool:
    """Whether a delegation shows rows of a dataset, of a province, of a commune, and a column of them."""
    if delegation["datasets"] is not None and dataset["dataset"] not in delegation["datasets"]:
        return False
    if delegation["communes"] is not None and (dataset["commune_field"] is None or (commune and commune not in delegation["communes"])):
        return False
    if province is not None and delegation["provinces"] is not None and province not in delegation["provinces"]:
        return False
    return column is None or column not in dataset["restricted"] or column in clear_fields(delegation, dataset)


def shown(records: Records, delegation: Row) -> tuple[Row, ...]:
    """The datasets of which a delegation shows rows."""
    return tuple(dataset for dataset in records.datasets.values() if covers(delegation, dataset))


def who(records: Records, when: Span, dataset: str, province: str, commune: str | None = None, column: str | None = None) -> list[Holding]:
    """Everybody who saw such rows, and that column of them, at some moment of `when`. Raises `SetupFault` for what is not known."""
    table, place = records.find_dataset(dataset), records.find_province(province)["id"]
    if column is not None:
        records.find_column(table, column)
    if commune is not None and table["commune_field"] is None:
        raise SetupFault(
            Message(f"Tập {dataset} không có cột xã.", f"The dataset {dataset} has no column with communes."), rule="no-communes"
        )
    return [h for h in holdings(records, when) if covers(h.delegation, table, place, commune, column)]


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody saw at some moment of a span of time.

    `workspaces` maps a province to whether its workspace is one's own. `ledger` holds the senders whose deliveries are seen;
    None: all of them.
    """

    holder: Row
    holdings: tuple[Holding, ...]
    workspaces: Mapping[str, bool]
    ledger: tuple[str, ...] | None


def what(records: Records, when: Span, role: str) -> Sight:
    """Everything that somebody saw at some moment of `when`. Raises `SetupFault` for an unknown role."""
    grantee = records.find_grantee(role)
    held = tuple(h for h in holdings(records, when) if h.holder["id"] == grantee["id"])
    parties = {party["id"] for party in parties_of(records, grantee, when)}
    workspaces = {h.delegation["workspace_of"]: False for h in held if h.delegation["workspace_of"]}
    for province in (g for g in records.grantees.values() if g["kind"] == "province" and _workspace(g["id"]) in records.workspaces):
        if any(holder["id"] in parties and time.meets(when) for holder, time in line(records, province["id"])):
            workspaces[province["id"]] = True
    senders = sorted({sender for h in held if h.delegation["is_own"] for sender in h.delegation["provinces"] or ()})
    return Sight(grantee, held, dict(sorted(workspaces.items())), None if parties & {CENTRE, AUDITOR} else tuple(senders))


def _workspace(province_id: str) -> str:
    return "workspace_" + province_id.replace("-", "_")
