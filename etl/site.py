"""One installation, opened: its settings, contracts, registry, warehouse, lake and archive.

Answers for: the composition (commands, DAGs) opens these once and hands them to the steps, which own no globals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.contract import Contract
from expectations.odcs import load_contracts
from expectations.period import Period
from warehouse.provinces import Registry, load_registry

if TYPE_CHECKING:
    from etl.settings import Settings
    from etl.store import Store
    from warehouse.access.load import AccessFiles
    from warehouse.engine import Warehouse
    from warehouse.logins import Logins
    from warehouse.pseudonym_key import KeyPlace
    from warehouse.tables import DatasetTable


@dataclass(frozen=True)
class Site:
    """What the steps work with; each part is opened when it is first used."""

    settings: Settings

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        return load_contracts(self.settings.contracts)

    @cached_property
    def registry(self) -> Registry:
        return load_registry(self.settings.reference)

    @cached_property
    def access(self) -> AccessFiles:
        """Where it is declared who sees what."""
        from warehouse.access.load import AccessFiles

        return AccessFiles(self.settings.access, self.settings.timezone)

    @cached_property
    def logins(self) -> Logins:
        """The way to the warehouse: the embedded server, or the one in the settings."""
        from warehouse.logins import Logins

        is_task = self.settings.login == "task"
        return Logins(self.settings.home, self.settings.warehouse_url, self.settings.server_settings, is_task=is_task)

    @cached_property
    def warehouse(self) -> Warehouse:
        return self.logins.task() if self.settings.login == "task" else self.logins.pipeline()

    def prepare_logins(self, now: datetime) -> None:
        """Have a server, and the roles of all who can hold a delegation today or later. Safe to repeat."""
        from zoneinfo import ZoneInfo

        from warehouse.access.load import group_grantees

        self.logins.prepare(group_grantees(self.access, self.registry), now.astimezone(ZoneInfo(self.settings.timezone)).date())

    @cached_property
    def tables(self) -> dict[str, tuple[DatasetTable, ...]]:
        """The tables of each dataset, as its contract asks for them today."""
        from warehouse.tables import dataset_tables

        return {name: dataset_tables(contract) for name, contract in self.contracts.items()}

    @cached_property
    def pseudonym_key(self) -> KeyPlace:
        """Where the key of the pseudonyms is; it is made when it is first needed."""
        from warehouse.pseudonym_key import KeyPlace

        return KeyPlace(self.settings.home / "secrets" / "pseudonym_key", self.settings.pseudonym_key)

    @cached_property
    def archive(self) -> Store:
        from etl.store import Store

        return Store(self.settings.archive)

    @cached_property
    def lake(self) -> Store:
        from etl.store import Store

        return Store(self.settings.lake)

    def code_lists(self, contract: Contract, period: Period, province_id: str | None) -> Mapping[str, frozenset[str]]:
        """The code lists that a contract names, as of the period's day, for one province or for all."""
        from warehouse.code_lists import code_lists

        return code_lists(
            self.settings.reference, contract.code_lists, period.start if contract.as_of == "start" else period.end, province_id
        )

    def sender_name(self, sender: str) -> str:
        """A sender as people call it: the province's full name, or the central body's own name."""
        return self.registry.get(sender).full_name if self.registry.exists(sender) else sender

    def work_file(self, name: str) -> Path:
        """A place for a file that is needed only while a delivery is under way; it may hold personal data."""
        folder = self.settings.work
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / name
