"""The command `ndc up`: Airflow for this installation, until it is told to stop.

Answers for: whatever it starts it stops, Airflow's processes and the embedded server alike; a second start says where the first one is.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.output import console, open_site, say
from etl.cli.server import migrate_site
from expectations.faults import Message

if TYPE_CHECKING:
    from etl.scheduler import Address
    from etl.site import Site

_STEPS = {
    "database": Message("cơ sở dữ liệu của Airflow", "Airflow's database"),
    "dag-processor": Message("đọc các DAG", "reading the DAGs"),
    "scheduler": Message("bộ lập lịch", "the scheduler"),
    "api-server": Message("máy chủ web", "the web server"),
    "ready": Message("chờ tất cả sẵn sàng (khoảng nửa phút)", "waiting for all of them (about half a minute)"),
}


def add_to(app: typer.Typer) -> None:
    app.command()(up)


def up(
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop by itself after this long; by default with Ctrl-C.")] = None,
) -> None:
    """Start Airflow for this installation, and load every night while it runs. Chạy Airflow."""
    site = open_site()
    with airflow_of(site) as (address, stop):
        say_address(site, address)
        stop.wait(seconds)


@contextmanager
def airflow_of(site: Site) -> Iterator[tuple[Address, threading.Event]]:
    """Airflow and the embedded server, migrated, until the end of the block; Ctrl-C does not break it but sets the event."""
    from etl.scheduler import running

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with server_of(site):
        migrate_site(site)
        spinner = console(to_errors=True).status("…")
        spinner.start()
        try:
            with running(site, lambda step: spinner.update(f"{_STEPS[step].vi} · {_STEPS[step].en}")) as address:
                spinner.stop()
                yield address, stop
                say(Message("Đang dừng…", "Stopping…"), to_errors=True)
        finally:
            spinner.stop()


@contextmanager
def server_of(site: Site) -> Iterator[None]:
    """The embedded server stops with the block, when it did not run before."""
    server = site.logins.server
    was_running = server is None or server.status().state == "running"
    try:
        yield
    finally:
        if server is not None and not was_running:
            if "warehouse" in site.__dict__:
                site.warehouse.dispose()
            server.stop()


def say_address(site: Site, address: Address) -> None:
    """Where Airflow is, how to log in, and how it ends."""
    password = site.settings.home / "airflow" / "password"
    console().print(f"[bold green]✓[/bold green] Airflow: [bold]{address.url}[/bold]   {address.user} / $(cat {password})", soft_wrap=True)
    say(Message("Ctrl-C để dừng. Mọi thứ dừng cùng lệnh này.", "Ctrl-C stops it, and everything with it."))
