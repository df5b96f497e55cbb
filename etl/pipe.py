"""Two threads' worth of patience: read ahead of the work, and write behind it, a few items at most.

Arrow, NumPy and the database driver release the interpreter while they work, so reading, judging and writing overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The items, made in another thread up to `depth` before they are wanted; a fault comes where its item would."""
    source = iter(items)
    with ThreadPoolExecutor(1, "ahead") as pool:
        pending = deque(pool.submit(next, source, _END) for _ in range(depth))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, source, _END))
            yield item


class Behind:
    """Hands items to `work` in another thread; waits when `depth` are not done. Leaving the block waits for all of them."""

    def __init__(self, work: Callable[[Any], None], depth: int = 2) -> None:
        self._work, self._depth = work, depth
        self._pool = ThreadPoolExecutor(1, "behind")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> Behind:
        return self

    def put(self, item: Any) -> None:
        """Hand over an item. Raises what an earlier one raised."""
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._work, item))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for future in self._pending:
                future.result()
