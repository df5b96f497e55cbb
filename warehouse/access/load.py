"""The declaration of an installation: its folder `access` with `organisations.yaml` and `delegations/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from expectations.contract import Contract
from warehouse.access.apply import Declaration
from warehouse.access.declared import World, load_delegations
from warehouse.access.grantees import GROUPS, Grantee, load_organisations, provinces_as_grantees
from warehouse.provinces import Registry


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """Where the declaration lies, and the time zone of its days."""

    folder: Path
    timezone: str


def group_grantees(files: AccessFiles, registry: Registry) -> tuple[Grantee, ...]:
    """The groups, provinces and organisations of an installation. Raises `SetupFault` with file and line."""
    return (*GROUPS, *provinces_as_grantees(registry), *load_organisations(files.folder / "organisations.yaml", registry))


def load_declaration(
    files: AccessFiles, registry: Registry, contracts: Mapping[str, Contract], people: Iterable[Grantee] = ()
) -> Declaration:
    """Everything that is declared; `people` are those that have a login. Raises `SetupFault` with every mistake's file and line."""
    groups = group_grantees(files, registry)
    world = World(registry, contracts, {g.id: g for g in (*groups, *people)})
    return Declaration(groups, load_delegations(files.folder / "delegations", world), files.timezone)
