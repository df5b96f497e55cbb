"""Who follows a delivery on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nothing(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how far a delivery is: `on_step` by the name of what is done, `on_lines` by the lines read so far."""

    on_step: Callable[[str], None] = _nothing
    on_lines: Callable[[int], None] = _nothing


UNWATCHED = Watch()
