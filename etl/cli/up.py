"""The command `ndc up`: Airflow for this installation, until it is told to stop.

Answers for: whatever it starts it stops, Airflow's processes and the embedded server alike; a second start says where the first one is.
"""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from etl.cli.output import console, open_site, say
from etl.cli.server import migrate_site
from expectations.faults import Message

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
    from etl.scheduler import running

    site = open_site()
    server = site.logins.server
    was_running = server is None or server.status().state == "running"
    migrate_site(site)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with (
            console(to_errors=True).status("…") as spinner,
            running(site, lambda step: spinner.update(f"{_STEPS[step].vi} · {_STEPS[step].en}")) as address,
        ):
            spinner.stop()
            password = site.settings.home / "airflow" / "password"
            console().print(
                f"[bold green]✓[/bold green] Airflow: [bold]{address.url}[/bold]   {address.user} / $(cat {password})", soft_wrap=True
            )
            say(Message("Ctrl-C để dừng. Mọi thứ dừng cùng lệnh này.", "Ctrl-C stops it, and everything with it."))
            stop.wait(seconds)
            say(Message("Đang dừng…", "Stopping…"), to_errors=True)
    finally:
        if server is not None and not was_running:
            server.stop()
