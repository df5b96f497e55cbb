"""Who may see what, in plain Python: the specification that the database is held against.

Answers for: from the rows of control.delegation, grantee, membership and dataset alone, what a role or a login may see at a moment,
now or later: rows of a dataset, restricted cells, lines of the ledger, workspaces; and which delegations must be refused.
Refuses: knowing anything of policies, grants or other means of PostgreSQL. It shares no line with functions.sql.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from warehouse.access.grantees import AUDITOR, CENTRE

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a dataset, as far as delegations can tell rows apart."""

    dataset: str
    province_id: str
    period: date
    commune: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    dataset: str
    restricted: frozenset[str] = frozenset()
    commune_field: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """A row of control.grantee: who can hold a delegation, and when. `heir_id` takes its place afterwards."""

    id: str
    role: str
    kind: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    heir_id: str | None = None
    ended_at: datetime | None = None

    def lives(self, at: datetime) -> bool:
        return self.ended_at is None and (self.valid_from is None or self.valid_from <= at) and not self.is_over(at)

    def is_over(self, at: datetime) -> bool:
        return self.valid_until is not None and self.valid_until <= at


@dataclass(frozen=True, slots=True)
class Member:
    """A row of control.membership."""

    person: str
    grantee: str
    since: datetime | None = None
    until: datetime | None = None

    def lasts(self, at: datetime) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Grant:
    """A row of control.delegation. None stands for all; restricted columns are written `dataset.field`."""

    delegation_id: int
    grantee: str
    parent_id: int | None = None
    name: str = ""
    datasets: frozenset[str] | None = None
    provinces: frozenset[str] | None = None
    communes: frozenset[str] | None = None
    periods_from: date | None = None
    periods_until: date | None = None
    in_clear: frozenset[str] | None = frozenset()
    is_own: bool = False
    workspace_of: str | None = None
    from_at: datetime | None = None
    until_at: datetime | None = None
    may_redelegate: bool = False
    revoked_at: datetime | None = None

    def covers(self, row: Row) -> bool:
        return (
            _has(self.datasets, row.dataset)
            and _has(self.provinces, row.province_id)
            and _has(self.communes, row.commune)
            and (self.periods_from is None or self.periods_from <= row.period)
            and (self.periods_until is None or row.period <= self.periods_until)
        )

    def has_begun(self, at: datetime) -> bool:
        return self.from_at is None or self.from_at <= at

    def has_ended(self, at: datetime) -> bool:
        return self.revoked_at is not None or (self.until_at is not None and self.until_at <= at)

    def beyond(self, parent: Grant, holder_until: datetime | None = None) -> frozenset[str]:
        """In what this reaches further than `parent`; nothing when it may hang below it. `holder_until`: the end of a person that holds
        the parent, who gives nothing beyond it."""
        wider = {
            "may_redelegate": not parent.may_redelegate,
            "datasets": not _within(self.datasets, parent.datasets),
            "provinces": not _within(self.provinces, parent.provinces),
            "communes": not _within(self.communes, parent.communes),
            "columns": not _within(self.in_clear, parent.in_clear),
            "periods": _earlier(self.periods_from, parent.periods_from) or _later(self.periods_until, parent.periods_until),
            "from": _earlier(self.from_at, parent.from_at),
            "until": _later(self.until_at, parent.until_at) or _later(self.until_at, holder_until),
            "workspace": self.workspace_of is not None and not parent.is_own and self.workspace_of != parent.workspace_of,
        }
        return frozenset(what for what, is_wider in wider.items() if is_wider)


@dataclass(frozen=True)
class Oracle:
    """What is declared and given on, and what follows from it. Roles and logins are named as the database names them."""

    grants: tuple[Grant, ...]
    parties: tuple[Party, ...]
    members: tuple[Member, ...]
    datasets: Mapping[str, Dataset] = field(default_factory=dict)

    # ------------------------------------------------------------ what may be seen

    def sees_row(self, role: str, row: Row, at: datetime) -> bool:
        return any(grant.covers(row) for grant in self.held_by(role, at))

    def sees_cell(self, role: str, row: Row, column: str, at: datetime) -> bool:
        """A restricted cell needs a delegation that covers the row and names the column; one alone must do both."""
        if column not in self.datasets[row.dataset].restricted:
            return self.sees_row(role, row, at)
        return any(grant.covers(row) and column in self.clear_columns(grant, row.dataset) for grant in self.held_by(role, at))

    def sees_delivery(self, role: str, sender: str, at: datetime) -> bool:
        """The centre and the auditor see the whole ledger; a province that of itself and of those that went into it."""
        parties = self.parties_of(role, at)
        if any(party.kind == "group" and party.id in (CENTRE, AUDITOR) for party in parties):
            return True
        return any(grant.is_own and _has(grant.provinces, sender) for grant in self.held_by(role, at))

    def enters_workspace(self, role: str, province_id: str, at: datetime) -> bool:
        """A province enters its own workspace, its heir after it, and whoever holds a delegation that opens it."""
        own = any(party in self.parties_of(role, at) for party in self._line(province_id) if party.lives(at))
        return own or any(grant.workspace_of == province_id for grant in self.held_by(role, at))

    def clear_columns(self, grant: Grant, dataset: str) -> frozenset[str]:
        """The restricted columns of a dataset that a delegation shows in clear."""
        if not self.concerns(grant, dataset):
            return frozenset()
        return frozenset(column for column in self.datasets[dataset].restricted if _has(grant.in_clear, f"{dataset}.{column}"))

    def concerns(self, grant: Grant, dataset: str) -> bool:
        """Whether a delegation can cover a row of a dataset: one for communes only where rows have one."""
        return _has(grant.datasets, dataset) and (grant.communes is None or self.datasets[dataset].commune_field is not None)

    # ------------------------------------------------------------ who holds what

    def held_by(self, role: str, at: datetime) -> Iterator[Grant]:
        """The delegations through which a role or a login sees at a moment."""
        parties = self.parties_of(role, at)
        for grant in self.grants:
            if self.is_live(grant, at) and any(holder in parties for holder in self.holders(grant) if holder.lives(at)):
                yield grant

    def is_live(self, grant: Grant, at: datetime) -> bool:
        """Begun, not ended, and so is everything above it."""
        parent = None if grant.parent_id is None else self._by_id[grant.parent_id]
        return grant.has_begun(at) and not grant.has_ended(at) and (parent is None or self.is_live(parent, at))

    def parties_of(self, role: str, at: datetime) -> tuple[Party, ...]:
        """A role itself and, for a person, those that it belongs to; none of those that do not live."""
        own = self._by_role.get(role)
        if own is None or not own.lives(at):
            return ()
        groups = {member.grantee for member in self.members if member.person == own.id and member.lasts(at)}
        return tuple(party for party in self.parties if party.lives(at) and (party == own or party.id in groups))

    def holders(self, grant: Grant) -> tuple[Party, ...]:
        """The grantee, and after a merger its heir. A province's own rows do not pass on: the heir has its own."""
        return self._line(grant.grantee)[: 1 if grant.is_own else None]

    def last_moment(self, grant: Grant) -> datetime | None:
        """The end of the person that holds a delegation, if it is one and has an end."""
        party = self._by_party.get(grant.grantee)
        return party.valid_until if party is not None and party.kind == "person" else None

    def holder(self, party_id: str, at: datetime) -> Party | None:
        """Who stands for an id at a moment."""
        return next((party for party in self._line(party_id) if party.lives(at)), None)

    # ------------------------------------------------------------ what must be refused

    def contradictions(self, at: datetime) -> frozenset[tuple[str, str]]:
        """(role, dataset) that would see different restricted columns in different rows, now or later: PostgreSQL grants columns
        per role, so all would be seen in all."""
        found = set()
        for party in self.parties:
            if party.ended_at is not None:
                continue
            groups = {m.grantee for m in self.members if m.person == party.id and (m.until is None or at < m.until)}
            held = [g for g in self.grants if not g.has_ended(at) and any(self._may_hold(h, party, groups, at) for h in self.holders(g))]
            for dataset in self.datasets:
                if len({clear for g in held if (clear := self.clear_columns(g, dataset))}) > 1:
                    found.add((party.role, dataset))
        return frozenset(found)

    def is_circular(self, grantee: str, parent: Grant, at: datetime) -> bool:
        """Whether `grantee` stands above in the chain that ends in `parent`."""
        above: Grant | None = parent
        while above is not None:
            if self.holder(above.grantee, at) == self.holder(grantee, at):
                return True
            above = None if above.parent_id is None else self._by_id[above.parent_id]
        return False

    # ------------------------------------------------------------

    def _may_hold(self, holder: Party, party: Party, groups: set[str], at: datetime) -> bool:
        return not holder.is_over(at) and (holder == party or holder.id in groups)

    def _line(self, party_id: str) -> tuple[Party, ...]:
        """A party, its heir, the heir's heir, as far as they are known."""
        found: list[Party] = []
        party = self._by_party.get(party_id)
        while party is not None and party.ended_at is None:
            found.append(party)
            party = self._by_party.get(party.heir_id or "")
        return tuple(found)

    @cached_property
    def _by_id(self) -> Mapping[int, Grant]:
        return {grant.delegation_id: grant for grant in self.grants}

    @cached_property
    def _by_party(self) -> Mapping[str, Party]:
        return {party.id: party for party in self.parties}

    @cached_property
    def _by_role(self) -> Mapping[str, Party]:
        return {party.role: party for party in self.parties}


def _has(values: frozenset[str] | None, value: str | None) -> bool:
    return values is None or value in values


def _within(child: frozenset[str] | None, parent: frozenset[str] | None) -> bool:
    return parent is None or (child is not None and child <= parent)


def _earlier(child: date | None, parent: date | None) -> bool:
    return parent is not None and (child is None or child < parent)


def _later(child: date | None, parent: date | None) -> bool:
    return parent is not None and (child is None or child > parent)


# ---------------------------------------------------------------- the rows


def read_oracle(connection: Connection, members: Iterable[Member] = ()) -> Oracle:
    """The oracle of what the control tables hold; `members` are those who belong to a group by other means than a row."""
    from sqlalchemy import text

    def rows(table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM control.{table}")).mappings()]

    members = tuple(members)
    outside = tuple(Party(m.person, m.person, "login") for m in members)
    return Oracle(
        tuple(_made(Grant, row) for row in rows("delegation")),
        (*(_made(Party, row) for row in rows("grantee")), *outside),
        (*(_made(Member, row) for row in rows("membership")), *members),
        {str(row["dataset"]): _made(Dataset, row) for row in rows("dataset")},
    )


def _made(noun: Any, row: Mapping[str, Any]) -> Any:
    """A noun from the columns of a row that it has; arrays become sets."""
    plain = {name: frozenset(value) if isinstance(value, list) else value for name, value in row.items()}
    return noun(**{f.name: plain[f.name] for f in fields(noun) if f.name in plain})
