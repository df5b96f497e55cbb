"""Commands that answer an auditor's and a puzzled user's questions: who, what, why-empty, changes."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, say

if TYPE_CHECKING:
    from etl.site import Site
    from warehouse.access.answers import Holding, Records, Span

app = typer.Typer(help="Who could see what, on any day, and proof of it. Ai thấy gì, và chứng minh.", no_args_is_help=True)

On = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="A day, also a past one; default: today.")]


@app.command()
def who(
    dataset: Annotated[str, typer.Option("--dataset")],
    province: Annotated[str, typer.Option("--province", help="Province id of the rows.")],
    column: Annotated[str | None, typer.Option("--column", help="Only those who see this column in clear.")] = None,
    commune: Annotated[str | None, typer.Option("--commune", help="Rows of this commune.")] = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Everybody who can, or on that day could, see such rows. Ai thấy được các dòng này."""
    from warehouse.access.answers import who as answer

    site = open_site()
    if column is not None:
        _check_column(site, dataset, column)
    records, when, day = _ask(site, on)
    found = answer(records, when, dataset, province, commune, column)
    if as_json:
        print_json([_facts(records, h) for h in found])
        return
    rows = [
        (
            h.holder["id"] + (f" ({h.belongs_to['id']})" if h.belongs_to else ""),
            h.holder["name"],
            h.delegation["name"],
            _rows(h),
            ", ".join(_clear(records, h, dataset)) or "–",
            _until(site, h),
            f"{h.delegation['purpose']}\n{h.delegation['legal_basis']}",
            " ← ".join((h.delegation["grantor"], *records.chain(h.delegation))),
        )
        for h in found
    ]
    columns = (
        "who · ai",
        "name · tên",
        "through · qua",
        "rows · dòng",
        "in clear · thấy rõ",
        "until · đến",
        "purpose, basis · mục đích",
        "from · do",
    )
    print_table(f"{dataset}, {province}, {day}: {len(rows)} ways of seeing it · {len(rows)} đường thấy", columns, rows)
    console().print(
        "Beside them: ndc_loader, the pipeline's own, sees every row; ndc_owner sees none, for row security is forced on it; "
        "ndc_analyst, the login of `ndc sql`, sees what the centre sees.",
        markup=False,
    )


@app.command()
def what(
    role: Annotated[str, typer.Option("--role", help="A province, organisation, person or role.")],
    on: On = None,
    as_json: Json = False,
) -> None:
    """Everything that a role or a person can see. Vai trò này thấy gì."""
    from warehouse.access.answers import what as answer

    site = open_site()
    records, when, day = _ask(site, on)
    found = answer(records, when, role)
    if as_json:
        print_json([_facts(records, h) for h in found])
        return
    rows = [
        (
            h.delegation["name"] + (f" ({h.belongs_to['id']})" if h.belongs_to else ""),
            dataset,
            _rows(h),
            ", ".join(_clear(records, h, dataset)) or "–",
            _until(site, h),
            "yes · có" if h.delegation["may_redelegate"] else "",
        )
        for h in found
        for dataset in (h.delegation["datasets"] or records.datasets)
    ]
    columns = ("through · qua", "dataset · tập", "rows · dòng", "in clear · thấy rõ", "until · đến", "on? · giao lại")
    print_table(f"{role}, {day}", columns, rows)
    own = [h.delegation["provinces"] for h in found if h.delegation["is_own"]]
    for provinces in own:
        console().print(f"The ledger of deliveries sent by · Sổ đợt gửi của: {', '.join(provinces)}")
    for place in sorted({h.delegation["workspace_of"] for h in found if h.delegation["workspace_of"]}):
        console().print(f"What is shared in the workspace of · Vùng làm việc của: {place}")
    if not found:
        console().print(f"Nothing on {day}; see: ndc access why-empty · Không thấy gì")


@app.command("why-empty")
def why_empty(
    role: Annotated[str, typer.Option("--role", help="A province, organisation, person or role.")],
    dataset: Annotated[str, typer.Option("--dataset")],
    province: Annotated[str | None, typer.Option("--province", help="Rows of this province.")] = None,
    as_json: Json = False,
) -> None:
    """Why do I see no rows? Which delegation is missing or has ended. Vì sao không thấy dòng nào."""
    from expectations.faults import Message
    from warehouse.access.answers import count_seen
    from warehouse.access.answers import why_empty as answer

    site = open_site()
    records, _, _ = _ask(site, None)
    now = datetime.now(ZoneInfo(site.settings.timezone))
    if province is not None:
        records.find_grantee(province)
    reasons, live = answer(records, now, role, dataset, province)
    count = None
    if live:
        with site.warehouse.transaction() as connection:
            count = count_seen(connection, dataset, live)
    if as_json:
        said = [{"rule": r.rule, "vi": r.message.vi, "en": r.message.en} for r in reasons]
        print_json({"reasons": said, "through": [d["name"] for d in live], "rows": count})
        return
    for reason in reasons:
        say(reason.message)
    if live and count:
        names = ", ".join(d["name"] for d in live)
        say(
            Message(
                f"Không thiếu quyền: {role} thấy {count:,} dòng qua {names}. Xem lại điều kiện truy vấn; «COPY bảng TO» không xuất dòng nào, hãy dùng COPY (SELECT …).",
                f"Nothing is missing: {role} sees {count:,} rows through {names}. Look at the query's conditions; COPY table TO gives nothing, use COPY (SELECT …).",
            )
        )
    elif live:
        say(
            Message(
                f"Có quyền ({', '.join(d['name'] for d in live)}) nhưng {dataset} chưa có dòng nào trong phạm vi ấy: xem ndc deliveries.",
                f"The delegation is there ({', '.join(d['name'] for d in live)}), but {dataset} has no rows within it yet: see ndc deliveries.",
            )
        )


@app.command("changes")
def list_changes(
    since: Annotated[datetime | None, typer.Option("--since", formats=["%Y-%m-%d"], help="From this day on.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of a delegation, a grantee or a person.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """The audit table: every change of who may see what. Nhật ký thay đổi quyền."""
    from warehouse.access.answers import changes, difference
    from warehouse.access.grantees import starts

    site = open_site()
    with site.warehouse.transaction("ndc_owner") as connection:
        found = changes(connection, starts(since.date(), site.settings.timezone) if since else None, name)
    if as_json:
        print_json(found[:limit])
        return
    zone = ZoneInfo(site.settings.timezone)
    rows = [
        (
            f"{c['changed_at'].astimezone(zone):%Y-%m-%d %H:%M}",
            c["actor"] or c["login"],
            c["what"],
            c["name"],
            difference(c),
            c["legal_basis"] or "",
        )
        for c in found[:limit]
    ]
    columns = ("when · lúc", "who · ai", "what · việc", "name · tên", "change · thay đổi", "basis · căn cứ")
    print_table(f"{len(rows)} of {len(found)} changes · thay đổi", columns, rows)


# ---------------------------------------------------------------- how it is said


def _ask(site: Site, on: datetime | None) -> tuple[Records, Span, date]:
    from warehouse.access.answers import Span, day_span, read_records

    with site.warehouse.transaction("ndc_owner") as connection:
        records = read_records(connection)
    now = datetime.now(ZoneInfo(site.settings.timezone))
    day = on.date() if on else now.date()
    if on is None:  # who can see it now, not this morning
        return records, Span(now, day_span(day, site.settings.timezone).end), day
    return records, day_span(day, site.settings.timezone), day


def _check_column(site: Site, dataset: str, column: str) -> None:
    from expectations.document import suggestion
    from expectations.faults import Message, SetupFault

    contract = site.contracts.get(dataset)
    if contract is not None and column not in contract.by_name:
        near = suggestion(column, list(contract.by_name))
        raise SetupFault(
            Message(f"{dataset} không có trường «{column}».{near[0]}", f"{dataset} has no field '{column}'.{near[1]}"), rule="unknown"
        )


def _facts(records: Records, holding: Holding) -> dict[str, Any]:
    d = holding.delegation
    return {
        "who": holding.holder["id"],
        "role": holding.holder["role"],
        "kind": holding.holder["kind"],
        "belongs_to": holding.belongs_to["id"] if holding.belongs_to else None,
        "from": holding.within.start,
        "until": holding.within.end if holding.within.end.year < 9999 else None,
        "delegation": d["name"],
        "granted_by": [d["grantor"], *records.chain(d)],
        **{
            key: d[key]
            for key in ("datasets", "provinces", "communes", "periods_from", "periods_until", "in_clear", "purpose", "legal_basis")
        },
    }


def _clear(records: Records, holding: Holding, dataset: str) -> tuple[str, ...]:
    from warehouse.access.answers import clear_fields

    return clear_fields(holding.delegation, records.datasets[dataset])


def _rows(holding: Holding) -> str:
    d = holding.delegation
    provinces = "all · tất cả" if d["provinces"] is None else ", ".join(d["provinces"])
    communes = "" if d["communes"] is None else f"; {len(d['communes'])} communes · xã: {', '.join(d['communes'][:5])}"
    periods = "" if d["periods_from"] is None else f"; from · từ {d['periods_from']}"
    return provinces + communes + periods


def _until(site: Site, holding: Holding) -> str:
    """Its end as it stands today, or when it was revoked."""
    d = holding.delegation
    end = min((e for e in (d["until_at"], d["revoked_at"]) if e is not None), default=None)
    return "" if end is None else f"{end.astimezone(ZoneInfo(site.settings.timezone)):%Y-%m-%d %H:%M}"
