"""Commands about delegations: `delegations` for the centre's declared ones, `delegate` for those that a login gives on."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.login import Login, person_url
from etl.cli.output import Json, console, open_site, print_json, print_table, say

if TYPE_CHECKING:
    from etl.site import Site
    from warehouse.access.apply import AccessPlan

declared = typer.Typer(help="Who sees what, as the centre declares it. Phân quyền do trung tâm khai báo.", no_args_is_help=True)
own = typer.Typer(help="Give parts of your own delegation on, with your own login. Tự phân quyền lại.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
_MANY = 20


# ---------------------------------------------------------------- the centre


@declared.command()
def plan(sql: Annotated[bool, typer.Option("--sql", help="Every statement.")] = False, as_json: Json = False) -> None:
    """The difference between what is declared and what is live, in words and as SQL. Xem trước thay đổi."""
    _show(_plan(open_site()), all_sql=sql, as_json=as_json, title="Plan · Kế hoạch")


@declared.command()
def apply(
    dry_run: DryRun = False,
    by: Annotated[str | None, typer.Option("--by", help="Who does it, for the audit table; default: this account.")] = None,
    as_json: Json = False,
) -> None:
    """Carry the plan out, in one transaction; disable people whose last day has passed. Run it nightly, too. Thực hiện."""
    from etl.upkeep import sweep_access

    site = open_site()
    if dry_run:
        _show(_plan(site), all_sql=False, as_json=as_json, title="Plan · Kế hoạch")
        return
    swept = sweep_access(site, by or getpass.getuser(), datetime.now(UTC))
    for login in swept.disabled:
        console(to_errors=True).print(f"{login}: disabled, its last day has passed · đã khoá, hết hạn")
    _show(swept.plan, all_sql=False, as_json=as_json, title="Done · Đã thực hiện")


def _plan(site: Site) -> AccessPlan:
    from etl.upkeep import plan_sweep

    return plan_sweep(site).plan


def _show(found: AccessPlan, *, all_sql: bool, as_json: bool, title: str) -> None:
    if as_json:
        said = [{"vi": m.vi, "en": m.en} for m in found.said]
        print_json({"said": said, "drift": found.drift, "statements": found.statements, "is_cut": found.is_cut})
        return
    if found.is_empty:
        console().print("Nothing to change: what is live is what is declared · Không có gì phải đổi")
        return
    if found.said:
        print_table(title, ("what", "việc"), [(m.en, m.vi) for m in found.said])
    if found.drift:
        console().print(
            f"[yellow]{len(found.drift)} of these mend what differs without a change of a declaration · sai khác ngoài khai báo[/yellow]"
        )
    shown = found.statements if all_sql else found.statements[:_MANY]
    for statement in shown:
        console().print(f"  {statement};", markup=False, highlight=False, soft_wrap=True)
    if len(shown) < len(found.statements):
        console().print(f"  … {len(found.statements) - len(shown)} more, see --sql or --json")
    if found.is_cut:
        console().print(
            "[yellow]Tables are busy: whoever loses a part has lost them whole; run it again for the rest · "
            "Bảng đang bận: bên bị thu hồi mất cả bảng; hãy chạy lại để làm nốt[/yellow]"
        )


@declared.command("revoke")
def revoke_for_grantor(
    name: Annotated[str, typer.Argument(help="Name of the delegation.")],
    grantor: Annotated[str, typer.Option("--grantor", help="Who gave it, with a login of its own.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    by: Annotated[str | None, typer.Option("--by", help="Who does it, for the audit table; default: this account.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """End what a province or an organisation gave on, in the centre's name. Trung tâm thu hồi quyền do tỉnh giao lại."""
    from expectations.faults import Message
    from warehouse.access.apply import end_delegation

    site = open_site()
    with site.warehouse.transaction("ndc_owner") as connection:
        attempt = connection.begin_nested()
        ended = end_delegation(connection, name, grantor, reason, by or getpass.getuser())
        attempt.rollback() if dry_run else attempt.commit()
    if as_json:
        print_json({"name": name, "ended": ended, "dry_run": dry_run})
    else:
        dry = Message("(thử) ", "(dry run) ") if dry_run else Message("", "")
        say(Message(f"✓ {dry.vi}đã thu hồi {ended} phân quyền", f"✓ {dry.en}{ended} delegations ended"))


@declared.command("list")
def list_all(
    ended: Annotated[bool, typer.Option("--ended", help="Ended ones, too.")] = False,
    as_json: Json = False,
) -> None:
    """Every delegation that is live. Các phân quyền đang hiệu lực."""
    from warehouse.access.apply import all_delegations

    site = open_site()
    with site.warehouse.transaction("ndc_owner") as connection:
        rows = all_delegations(connection, ended=ended)
    _list(rows, site.settings.timezone, as_json=as_json)


# ---------------------------------------------------------------- everybody who holds a delegation


@own.command()
def grant(
    grantee: Annotated[str, typer.Argument(help="Id of an organisation, province or person.")],
    purpose: Annotated[str, typer.Option("--purpose", help="What for.")],
    legal_basis: Annotated[str, typer.Option("--legal-basis", help="By which act.")],
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Several may be named; default: all that you hold.")] = None,
    province: Annotated[list[str] | None, typer.Option("--province", help="Province ids; default: all that you hold.")] = None,
    commune: Annotated[list[str] | None, typer.Option("--commune", help="Commune codes, as they are meant on the first day.")] = None,
    in_clear: Annotated[
        list[str] | None, typer.Option("--in-clear", help="Restricted columns to be seen in clear, or: all. Default: none.")
    ] = None,
    start: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; default: now.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], help="Last day; default: as long as yours.")] = None,
    may_redelegate: Annotated[bool, typer.Option("--may-redelegate", help="The grantee may give it on.")] = False,
    workspace: Annotated[bool, typer.Option("--workspace", help="The grantee may also read what is shared in your workspace.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="A name for it.")] = None,
    as_: Annotated[str | None, typer.Option("--as", help="In whose name, if you belong to several.")] = None,
    login: Login = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let somebody see a part of what you see. Giao lại một phần quyền."""
    from warehouse.access import delegate

    site = open_site()
    wanted = delegate.Grant(
        grantee=grantee,
        purpose=purpose,
        legal_basis=legal_basis,
        datasets=_tuple(dataset),
        provinces=_tuple(province),
        communes=_tuple(commune),
        in_clear=_clear_columns(site, dataset, in_clear or []),
        start=start.date() if start else None,
        until=until.date() if until else None,
        may_redelegate=may_redelegate,
        shares_workspace=workspace,
        name=name,
        grantor=as_,
    )
    row = delegate.grant(person_url(site, login), wanted, site.settings.timezone, dry_run=dry_run)
    if as_json:
        print_json(row)
        return
    from expectations.faults import Message
    from warehouse.access.words import say_row

    said = say_row(row, site.settings.timezone)
    dry = Message("(thử) ", "(dry run) ") if dry_run else Message("", "")
    say(Message(f"✓ {dry.vi}{row['name']}: {said.vi}", f"✓ {dry.en}{row['name']}: {said.en}"))


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """What was named, once each; nothing named is None."""
    return tuple(dict.fromkeys(values)) if values else None


def _clear_columns(site: Site, datasets: Sequence[str] | None, said: Sequence[str]) -> tuple[str, ...] | None:
    """Fields as `dataset.field`; None for all. What is not known is passed on, for the database to refuse by name."""
    if "all" in said:
        return None
    named = [c for c in site.contracts.values() if not datasets or c.dataset in datasets]
    found: list[str] = []
    for column in said:
        matching = [f"{c.dataset}.{f.name}" for c in named for f in c.restricted_fields if column in (f.name, f"{c.dataset}.{f.name}")]
        found += matching or [column]
    return tuple(found)


@own.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the delegation.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    login: Login = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """End a delegation that you gave, and all that hang on it, at once. Thu hồi."""
    from expectations.faults import Message
    from warehouse.access.delegate import revoke as end

    site = open_site()
    done = end(person_url(site, login), name, reason, dry_run=dry_run)
    if as_json:
        print_json({"name": name, "ended": done.count, "dry_run": dry_run, "warnings": done.warnings})
        return
    dry = Message("(thử) ", "(dry run) ") if dry_run else Message("", "")
    say(Message(f"✓ {dry.vi}đã thu hồi {done.count} phân quyền", f"✓ {dry.en}{done.count} delegations ended"))
    for warning in done.warnings:
        say(warning, to_errors=True)


@own.command("list")
def list_own(
    ended: Annotated[bool, typer.Option("--ended", help="Ended ones, too.")] = False,
    login: Login = None,
    as_json: Json = False,
) -> None:
    """What you hold, what you gave, and what hangs on that. Quyền của tôi."""
    from warehouse.access.delegate import own_delegations

    site = open_site()
    now = datetime.now().astimezone()
    rows = [
        r
        for r in own_delegations(person_url(site, login))
        if ended or (r["revoked_at"] is None and (r["until_at"] is None or r["until_at"] > now))
    ]
    _list(rows, site.settings.timezone, as_json=as_json)


def _list(rows: Sequence[Mapping[str, Any]], timezone: str, *, as_json: bool) -> None:
    from collections import Counter

    from warehouse.access.declared import EACH_PROVINCE
    from warehouse.access.words import say_row

    if as_json:
        print_json(list(rows))
        return
    shown = []
    families = Counter(row["name"].partition("/")[0] for row in rows)
    for row in rows:
        family = row["name"].partition("/")[0]
        if families[family] > 1:  # one entry of a file, for each province
            row = {**row, "name": f"{family} × {families[family]}", "grantee": EACH_PROVINCE}
            families[family] = 0
        elif not families[family]:
            continue
        said = say_row(row, timezone)
        state = f"ended {row['revoked_at']:%Y-%m-%d}: {row['revoked_because']}" if row["revoked_at"] else ""
        shown.append(
            (
                row["name"],
                f"{row['grantor']} → {row['grantee']}",
                f"{said.vi}\n{said.en}",
                "yes · có" if row["may_redelegate"] else "",
                f"{row['purpose']}\n{row['legal_basis']}",
                state,
            )
        )
    columns = ("delegation", "from → to", "what · gì", "on? · giao lại", "purpose, legal basis · mục đích, căn cứ", "ended · hết")
    print_table(
        f"{len(rows)} delegations · phân quyền",
        columns[: 6 if any(s[5] for s in shown) else 5],
        [s[: 6 if any(x[5] for x in shown) else 5] for s in shown],
    )
