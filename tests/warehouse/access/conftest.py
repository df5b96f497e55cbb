"""A server of this package's own, since roles are the server's and not a database's: what is proven here is proven of all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.warehouse.access.world import World
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
