"""Commands about the warehouse itself: migrate, sql, and the embedded server's start, stop, status, url, destroy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.login import Login, person_url
from etl.cli.output import Json, console, open_site, print_json, print_table, say

if TYPE_CHECKING:
    from etl.site import Site
    from warehouse.embedded import Server
    from warehouse.migrate import Plan

app = typer.Typer(help="The embedded PostgreSQL server. Máy chủ dữ liệu kèm theo.", no_args_is_help=True)


def add_to(whole: typer.Typer) -> None:
    whole.command()(migrate)
    whole.command()(sql)


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the warehouse up to the contracts and the registry; the plan is shown first. Cập nhật kho theo hợp đồng."""
    from warehouse.migrate import make_plan

    site = open_site()
    site.contracts, site.registry  # noqa: B018 - a broken contract is said before anything is touched
    prepare_logins(site)
    planned = make_plan(site.warehouse, site.contracts, site.registry, site.access)
    access = planned.access
    if as_json:
        told = [{"vi": c.message.vi, "en": c.message.en, "sql": c.sql} for c in planned.tables]
        print_json(
            {"control": planned.control, "tables": told, "access": access and {"said": access.said, "statements": access.statements}}
        )
    elif planned.is_empty:
        console().print("Nothing to change · Không có gì phải đổi")
    else:
        steps = [*((f"control {r}", f"control {r}") for r in planned.control), *((c.message.en, c.message.vi) for c in planned.tables)]
        if access is None:
            steps.append(("who sees what: all that is declared", "quyền: mọi điều đã khai báo"))
        else:
            steps += [(m.en, m.vi) for m in access.said]
            steps += (
                [(f"{len(access.statements)} policies and grants", f"{len(access.statements)} chính sách và quyền")]
                if access.statements
                else []
            )
        print_table("Plan · Kế hoạch", ("step", "bước"), steps)
    if not dry_run:
        migrate_site(site)


def prepare_logins(site: Site) -> None:
    """A server, and the roles of all who can hold a delegation today or later."""
    from datetime import UTC, datetime

    site.prepare_logins(datetime.now(UTC))


def migrate_site(site: Site) -> Plan:
    """Roles, logins, control, tables and registry, whatever is missing."""
    from etl.journal import highest_number
    from warehouse.ledger import number_after
    from warehouse.migrate import migrate as bring_up

    prepare_logins(site)
    done = bring_up(site.warehouse, site.contracts, site.registry, site.access)
    if highest := highest_number(site.archive):  # a warehouse made anew beside an old archive does not use its numbers again
        with site.warehouse.transaction("ndc_owner") as connection:
            number_after(connection, highest)
    return done


def sql(
    query: Annotated[str | None, typer.Argument(help="One query; without it psql opens.")] = None,
    login: Login = None,
    as_json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV output.")] = False,
) -> None:
    """Query with your own login, or as an analyst at the centre: all rows, without restricted columns. Truy vấn."""
    from warehouse.query import query_rows

    site = open_site()
    url = person_url(site, login) if login else site.logins.analyst_url()
    if query is None:
        _open_psql(url)
        return
    columns, rows = query_rows(url, query)
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif csv:
        import csv as csv_module

        writer = csv_module.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        numbers = [name for index, name in enumerate(columns) if rows and all(isinstance(r[index], (int, float, type(None))) for r in rows)]
        print_table(f"{len(rows)} rows", columns, rows, right=numbers)


def _open_psql(url: Any) -> None:
    """Replace this process by psql; the password goes by the environment, where other accounts cannot see it."""
    from expectations.faults import SetupFault
    from warehouse.embedded_account import installed_programs

    program = shutil.which("psql")
    with contextlib.suppress(SetupFault):  # beside an external server the wheel need not be installed
        program = shutil.which("psql", path=installed_programs()) or program
    if program is None:
        console(to_errors=True).print("psql is not installed · chưa cài psql")
        raise typer.Exit(3)
    plain = url.set(drivername="postgresql")._replace(password=None).render_as_string()
    os.execve(program, [program, plain], {**os.environ, "PGPASSWORD": url.password or ""})


def _server() -> Server:
    from expectations.faults import Message, SetupFault

    found = open_site().logins.server
    if found is None:
        raise SetupFault(
            Message(
                "NDC_WAREHOUSE_URL đã đặt: máy chủ ngoài không do ndc quản lý.",
                "NDC_WAREHOUSE_URL is set: an external server is not run by ndc.",
            )
        )
    return found


@app.command()
def start() -> None:
    """Start the embedded server, or attach to it. Khởi động."""
    server = _server()
    server.start()
    console().print(f"running on port {server.status().port} · đang chạy")


@app.command()
def stop() -> None:
    """Stop the embedded server. Dừng."""
    _server().stop()
    console().print("stopped · đã dừng")


@app.command()
def status(as_json: Json = False) -> None:
    """What the embedded server is doing; starts nothing. Trạng thái."""
    found = _server().status()
    facts = {"state": found.state, "port": found.port, "pid": found.pid, "version": found.version, "data": str(found.data)}
    if as_json:
        print(json.dumps(facts))
    else:
        print_table("Warehouse · Kho", ("", " "), [(k, str(v)) for k, v in facts.items() if v is not None])


@app.command()
def url(
    without_password: Annotated[bool, typer.Option("--without-password", help="For showing it to others.")] = False,
) -> None:
    """The address for an analyst's psql, DBeaver or pandas; it holds a password. Địa chỉ cho người phân tích."""
    found = open_site().logins.analyst_url().set(drivername="postgresql")
    print(found._replace(password=None).render_as_string() if without_password else found.render_as_string(hide_password=False))


@app.command()
def destroy(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop the embedded server and delete its data; the archive and the lake stay. Xoá kho."""
    from expectations.faults import Message

    server = _server()
    say(Message(f"Sẽ xoá toàn bộ kho ở {server.status().data}.", f"The whole warehouse in {server.status().data} will be deleted."))
    if not yes and not typer.confirm("Delete it? · Xoá?"):
        raise typer.Exit(1)
    server.destroy()
    for file in (open_site().settings.home / "secrets").glob("*"):
        if not file.name.startswith("pseudonym_key"):  # or the warehouse made anew would have other pseudonyms, and nothing to tell
            file.unlink()
