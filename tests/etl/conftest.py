"""Installations with the small contracts of the tests, and files put into their inboxes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from etl.run import Only, Progress, Result, parse_periods, run
from etl.site import Site

CONTRACTS = Path(__file__).resolve().parent.parent / "data" / "contracts"
HEADER = "Mã cơ sở,Ngày mở,Lượt khám,Tỷ lệ,Bác sĩ\n"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


def put(site: Site, place: str, content: str | bytes) -> Path:
    """A file in the inbox: `put(site, "ha-noi/clinic/clinic_2025-05.csv", …)`."""
    path = site.settings.inbox / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def run_all(site: Site, dataset: str | None = None, province: str | None = None, period: str | None = None) -> Result:
    only = Only(dataset, (province,) if province else (), parse_periods(period))
    return run(site, only, lambda: datetime(2026, 11, 25, 10, 0).astimezone(), Progress())


def lines(count: int, *, start: int = 1000, visits: int = 5) -> str:
    """A clean file of `count` lines."""
    return HEADER + "".join(f"{start + i:04d},01/02/2020,{visits},10.5,Bác sĩ {i}\n" for i in range(count))
