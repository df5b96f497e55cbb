"""The status pages inside Airflow, at /status/ and in its navigation.

Every process of Airflow reads this file, tasks included, so that the pages themselves are imported by the first request alone.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

_ROOT = str(Path(__file__).resolve().parents[2])


@cache
def _pages() -> Callable[..., Awaitable[None]]:
    if _ROOT not in sys.path:
        sys.path.append(_ROOT)
    from dags.status_view import app

    return app


async def pages(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """The application, as ASGI has it."""
    await _pages()(scope, receive, send)


class StatusPage(AirflowPlugin):
    name = "ndc_status"
    fastapi_apps: ClassVar[list[Any]] = [{"app": pages, "url_prefix": "/status", "name": "status"}]
    external_views: ClassVar[list[Any]] = [
        {"name": "Tình trạng · Status", "href": "/status/", "destination": "nav", "url_route": "ndc-status", "category": "browse"}
    ]
