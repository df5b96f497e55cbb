"""A server of this package's own, since roles are the server's and not a database's: what is proven here is proven of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etl.site import Site
from tests.warehouse.access.world import HERE, World, declare
from warehouse.embedded import TEST_SETTINGS, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("access_postgres"), settings=TEST_SETTINGS)
    running.start()
    yield running
    running.destroy()


@pytest.fixture(scope="session")
def standing_world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for many sets of delegations."""
    world = World.made_on(server, "standing", tmp_path_factory.mktemp("standing"))
    yield world
    world.close()


@pytest.fixture
def world(new_site: Callable[..., Site], tmp_path: Path) -> Iterator[World]:
    """A world that one test may break."""
    world = World(new_site(contracts=HERE / "contracts", reference=HERE / "reference", access=declare(tmp_path / "access")))
    yield world
    world.close()
