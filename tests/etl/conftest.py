"""Installations with the small contracts of the tests, and files put into their inboxes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from etl.run import Only, Progress, Result, parse_periods, run
from etl.site import Site
from tests.conftest import FixedLogins, as_superuser
from warehouse.embedded import Server

CONTRACTS = Path(__file__).resolve().parent.parent / "data" / "contracts"
FAULTY = "9876,01/02/2020,không phải số,10.5,Nguyễn Văn Kín\n8765,31/02/2021,5,10.5,Trần Thị Mật\n"
"""Two lines of the clinics' file that are refused, with the names of people."""
HEADER = "Mã cơ sở,Ngày mở,Lượt khám,Tỷ lệ,Bác sĩ\n"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


@pytest.fixture
def delivered(
    new_site: Callable[..., Site], new_database: Callable[..., str], server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """An installation with one delivery of each kind: accepted, in part, returned and held. Made once, then copied."""
    site = new_site(contracts=CONTRACTS)
    if id(server) not in _delivered:
        for period, content in (("04", lines(4)), ("05", lines(4) + FAULTY), ("06", HEADER + FAULTY), ("07", HEADER)):
            put(site, f"ha-noi/clinic/clinic_2025-{period}.csv", content)
        run_all(site)
        site.warehouse.dispose()
        copy = tmp_path_factory.mktemp("delivered") / "home"
        shutil.copytree(site.settings.home, copy)
        name = str(site.warehouse.url.database)
        as_superuser(server, f"CREATE DATABASE delivered TEMPLATE {name}")
        _delivered[id(server)] = copy
        return site
    shutil.copytree(_delivered[id(server)], site.settings.home, dirs_exist_ok=True)
    site.__dict__["logins"] = FixedLogins(server, new_database("delivered"))
    return site


_delivered: dict[int, Path] = {}


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
