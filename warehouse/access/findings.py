"""What a proof of access consists of: what was examined, what each role really sees, and what is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from expectations.faults import Message

Kind = Literal["leak", "drift", "unproven"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `leak`: somebody sees or can do too much. `drift`: it differs in another way from what
    the delegations ask for. `unproven`: it could not be examined."""

    kind: Kind
    rule: str
    object: str
    role: str | None
    message: Message


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant, and in how many places it was broken."""

    rule: str
    meaning: Message
    broken: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What one role really sees of one relation: of which provinces there are rows for it, and which restricted columns it may read."""

    role: str
    kind: str
    relation: str
    provinces: tuple[str, ...]
    restricted_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that was examined at one moment, for an auditor to keep. Without `is_live` no role's sight was."""

    at: datetime
    database: str
    server: str
    is_live: bool
    roles: tuple[str, ...]
    unbound: tuple[str, ...]
    """Roles that no policy binds: superusers and those with BYPASSRLS. What they do is in the server's log, not here."""
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    seen: tuple[Seen, ...]

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def count(self, kind: Kind) -> int:
        return sum(finding.kind == kind for finding in self.findings)


def checks_of(meanings: dict[str, Message], findings: Sequence[Finding]) -> tuple[Check, ...]:
    """Each invariant that was examined, with the number of findings under its name."""
    return tuple(Check(rule, meaning, sum(f.rule == rule for f in findings)) for rule, meaning in meanings.items())
