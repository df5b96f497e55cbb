"""The pages of `etl.status` as a web application. Answers for: nobody sees them without Airflow's login; each request reads afresh."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse

from etl.settings import read_settings
from etl.site import Site
from etl.status import Link, below, delivery_page, status_page
from expectations.faults import Fault

_NOT_THERE = ("no-dataset", "no-delivery")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# An application of a plugin is outside Airflow's own login; each of its routes asks for it here.
app = FastAPI(dependencies=[Depends(requires_authenticated())], openapi_url=None, docs_url=None, redoc_url=None)


@app.get("/")
def summary(request: Request) -> HTMLResponse:
    return _answer(request, lambda site, link: status_page(site, link=link))


@app.get("/datasets/{dataset}")
def one_dataset(request: Request, dataset: str) -> HTMLResponse:
    return _answer(request, lambda site, link: status_page(site, dataset, link))


@app.get("/deliveries/{number}")
def one_delivery(request: Request, number: int) -> HTMLResponse:
    return _answer(request, lambda site, link: delivery_page(site, number, link))


def _answer(request: Request, page: Callable[[Site, Link], str]) -> HTMLResponse:
    link: Link = below(request.scope.get("root_path", ""))
    try:
        with _opened() as site:
            return HTMLResponse(page(site, link), headers=_HEADERS)
    except Fault as fault:
        status = 404 if fault.rule in _NOT_THERE else 503
        return HTMLResponse(f"<p>{escape(fault.message.vi)}</p><p>{escape(fault.message.en)}</p>", status, headers=_HEADERS)


@contextmanager
def _opened() -> Iterator[Site]:
    site = Site(read_settings(os.environ))
    try:
        yield site
    finally:
        if "warehouse" in site.__dict__:
            site.warehouse.dispose()
