"""Commands that answer an auditor's and a puzzled user's questions: who, what, why-empty, changes. `proof.py` adds `prove`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from etl.cli.login import Login, person_url
from etl.cli.output import Json, open_site, print_json, print_table, say
from expectations.faults import Message

if TYPE_CHECKING:
    from etl.site import Site
    from warehouse.access.answers import Holding, Sight
    from warehouse.access.records import Records
    from warehouse.access.why_empty import Verdict
    from warehouse.engine import URL

app = typer.Typer(help="Who could see what, on any day, and proof of it. Ai thấy gì, và chứng minh.", no_args_is_help=True)

On = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="A day, also a past one; default: today.")]
Role = Annotated[
    str | None, typer.Option("--role", help="A province, organisation, person or role. Default: the login, where one is given.")
]
_SHOWN = 50
_COMMUNES = 5


@app.command()
def who(
    dataset: Annotated[str, typer.Option("--dataset")],
    province: Annotated[str, typer.Option("--province", help="Province id of the rows.")],
    column: Annotated[str | None, typer.Option("--column", help="Only those who see this column; a restricted one in clear.")] = None,
    commune: Annotated[str | None, typer.Option("--commune", help="Rows of this commune.")] = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Everybody who could see such rows at any moment of a day, and through what. Ai thấy được các dòng này."""
    from warehouse.access.answers import who as answer
    from warehouse.access.records import day_span

    site = open_site()
    day = on.date() if on else _now(site).date()
    records = _records(site)
    found = answer(records, day_span(day, site.settings.timezone), dataset, province, commune, column)
    if as_json:
        print_json([_facts(records, h) for h in found])
        return
    rows = [
        (
            _holder(h) + ("" if h.holder["name"] == h.holder["id"] else f"\n{h.holder['name']}"),
            _rows(h),
            _clear(records, h, dataset),
            _time(site, h),
            f"{h.delegation['name']}\n← {' ← '.join(_grantors(records, h))}",
            f"{h.delegation['purpose']}\n{h.delegation['legal_basis']}",
        )
        for h in found
    ]
    columns = (
        "who · ai",
        "rows · dòng",
        "in clear · thấy rõ",
        "when · lúc",
        "through, from · qua, do",
        "purpose, basis · mục đích, căn cứ",
    )
    asked = ", ".join(filter(None, (dataset, records.find_province(province)["id"], commune, column, str(day))))
    print_table(f"{asked}: {len(rows)} ways of seeing it · đường thấy", columns, rows)
    say(_PIPELINE)


_PIPELINE = Message(
    "Ngoài ra: ndc_loader của hệ thống thấy mọi dòng; ndc_owner không thấy dòng nào, vì bảo mật theo dòng buộc cả chủ sở hữu; "
    "ndc_analyst, tài khoản của «ndc sql», thấy như trung tâm.",
    "Beside them: ndc_loader, the pipeline's own, sees every row; ndc_owner sees none, for row security is forced on it; "
    "ndc_analyst, the login of `ndc sql`, sees what the centre sees.",
)


@app.command()
def what(role: Role = None, on: On = None, login: Login = None, as_json: Json = False) -> None:
    """Everything that a role or a person can see, or saw on a day: rows, columns, workspaces, ledger. Vai trò này thấy gì."""
    from warehouse.access.answers import shown
    from warehouse.access.answers import what as answer
    from warehouse.access.records import Span, day_span

    site = open_site()
    role, records = _role(role, login), _records(site, _url(site, login))
    now = _now(site)
    day = on.date() if on else now.date()
    when = day_span(day, site.settings.timezone)
    sight = answer(records, when if on else Span(now, when.end), role)  # without a day: what it can see, not what it could this morning
    if as_json:
        print_json([*(_facts(records, h) for h in sight.holdings), *_facts_beside(sight)])
        return
    rows = [
        (
            h.delegation["name"] + (f"\n({h.belongs_to['id']})" if h.belongs_to else ""),
            dataset["dataset"],
            _rows(h),
            _clear(records, h, dataset["dataset"]),
            _time(site, h),
            "yes · có" if h.delegation["may_redelegate"] else "",
        )
        for h in sight.holdings
        for dataset in shown(records, h.delegation)
    ]
    columns = ("through · qua", "dataset · tập", "rows · dòng", "in clear · thấy rõ", "when · lúc", "on? · giao lại")
    if rows:
        print_table(f"{role}, {day}", columns, rows)
    for message in _say_beside(sight):
        say(message)
    if not rows:
        say(_NOTHING.fill(role=role, day=day))


_NOTHING = Message(
    "{role} không thấy dòng dữ liệu nào, {day}; vì sao: ndc access why-empty", "{role} sees no rows on {day}; why: ndc access why-empty"
)


def _say_beside(sight: Sight) -> list[Message]:
    """The ledger and the workspaces."""
    found = []
    if sight.ledger is None:
        found.append(Message("Sổ đợt gửi: của mọi đơn vị.", "The ledger: every sender's deliveries."))
    elif sight.ledger:
        senders = ", ".join(sight.ledger)
        found.append(Message(f"Sổ đợt gửi của: {senders}.", f"The ledger: deliveries of {senders}."))
    for province, is_own in sight.workspaces.items():
        vi, en = ("dùng như của mình", "as its own") if is_own else ("đọc những gì được chia sẻ", "to read what is shared there")
        found.append(Message(f"Vùng làm việc của {province}: {vi}.", f"The workspace of {province}: {en}."))
    return found


@app.command("why-empty")
def why_empty(
    dataset: Annotated[str, typer.Option("--dataset")],
    role: Role = None,
    province: Annotated[str | None, typer.Option("--province", help="Rows of this province.")] = None,
    column: Annotated[str | None, typer.Option("--column", help="A column that is not seen.")] = None,
    login: Login = None,
    as_json: Json = False,
) -> None:
    """Why do I see no rows? The first thing that explains it, and what to do. Vì sao không thấy dòng nào."""
    from warehouse.access.why_empty import why_empty as answer
    from warehouse.access.why_empty import why_no_rows

    site = open_site()
    role, url = _role(role, login), _url(site, login)
    records = _records(site, url)
    verdict = answer(records, _now(site), site.settings.timezone, role, dataset, province, column)
    reason, count = verdict.reason, None
    if reason is None:
        place = records.find_province(province)["id"] if province else None
        count = _count(site, records, verdict, dataset, place, url)
        reason = None if count else why_no_rows(verdict, role, dataset, place)
    if as_json:
        said = [] if reason is None else [{"rule": reason.rule, "vi": reason.message.vi, "en": reason.message.en}]
        print_json({"reasons": said, "through": [d["name"] for d in verdict.through], "rows": count})
        return
    if reason is not None:
        say(reason.message)
        return
    say(_SEES.fill(role=role, count=f"{count:,}", names=", ".join(d["name"] for d in verdict.through)))
    if hidden := _hidden(records, verdict, dataset):
        say(_HIDDEN.fill(columns=", ".join(hidden)))


_SEES = Message(
    "Không thiếu quyền: {role} thấy {count} dòng, qua {names}. Hãy xem lại điều kiện truy vấn; «COPY bảng TO» không xuất dòng nào dưới bảo mật theo dòng, "
    "hãy dùng COPY (SELECT …). Vẫn không thấy: ndc access prove",
    "Nothing is wrong: {role} sees {count} rows, through {names}. Look at the query's conditions; COPY table TO gives nothing under row security, "
    "use COPY (SELECT …). If there is still nothing: ndc access prove",
)
_HIDDEN = Message(
    "Không thấy rõ các cột hạn chế: {columns} (chỉ bí danh hoặc giá trị che bớt).",
    "Restricted columns that are not seen in clear: {columns} (only pseudonyms or masks).",
)


def _count(site: Site, records: Records, verdict: Verdict, dataset: str, province: str | None, url: URL | None) -> int:
    """The rows within the delegations of a verdict: the loader counts them, or the login itself."""
    from warehouse.access.why_empty import count_own, count_seen

    table = records.find_dataset(dataset)
    if url is not None:
        return count_own(url, table, verdict.through, province)
    with site.warehouse.transaction() as connection:
        return count_seen(connection, table, verdict.through, province)


def _hidden(records: Records, verdict: Verdict, dataset: str) -> list[str]:
    from warehouse.access.answers import clear_fields

    table = records.find_dataset(dataset)
    seen = {field for d in verdict.through for field in clear_fields(d, table)}
    return [field for field in table["restricted"] if field not in seen]


@app.command("changes")
def list_changes(
    since: Annotated[datetime | None, typer.Option("--since", formats=["%Y-%m-%d"], help="From this day on.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of a delegation, a grantee or a person.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help=f"At most so many; default: {_SHOWN} in the table, all in JSON.")] = None,
    as_json: Json = False,
) -> None:
    """The audit table: who changed what, when, from what to what, by which act. Nhật ký thay đổi quyền."""
    from warehouse.access.audit import changes, say_change
    from warehouse.access.grantees import starts

    site = open_site()
    with site.warehouse.transaction("ndc_owner") as connection:
        found = changes(connection, starts(since.date(), site.settings.timezone) if since else None, name)
    if as_json:
        print_json(found[:limit])
        return
    rows = []
    for change in found[: limit or _SHOWN]:
        said = say_change(change, site.settings.timezone)
        rows.append(
            (
                _moment(site, change["changed_at"]),
                f"{change['actor']} ({change['login']})" if change["actor"] else change["login"],
                change["name"],
                said.vi if said.vi == said.en else f"{said.vi}\n{said.en}",
                change["legal_basis"] or "",
            )
        )
    columns = ("when · lúc", "by · do", "of · của", "change · thay đổi", "basis · căn cứ")
    print_table(f"{len(rows)} of {len(found)} changes · thay đổi", columns, rows)


# ---------------------------------------------------------------- what is asked


def _role(role: str | None, login: str | None) -> str:
    said = role or login
    if said is None:
        raise typer.BadParameter("say whose sight is meant, or your login with --login · hãy nêu vai trò", param_hint="--role")
    return said


def _url(site: Site, login: str | None) -> URL | None:
    """The address with a person's login, whose password is asked for once."""
    return None if login is None else person_url(site, login)


def _records(site: Site, url: URL | None = None) -> Records:
    """Everything that is written down, or what a person's login is told."""
    from warehouse.access.records import read_own_records, read_records

    if url is not None:
        return read_own_records(url, site.settings.timezone)
    with site.warehouse.transaction("ndc_owner") as connection:
        return read_records(connection)


def _now(site: Site) -> datetime:
    return datetime.now(ZoneInfo(site.settings.timezone))


# ---------------------------------------------------------------- how it is said


def _facts(records: Records, holding: Holding) -> dict[str, Any]:
    """A way of seeing, for machines."""
    from warehouse.access.answers import clear_fields, shown

    d = holding.delegation
    terms = ("datasets", "provinces", "communes", "periods_from", "periods_until", "in_clear", "is_own", "workspace_of", "may_redelegate")
    return {
        "who": holding.holder["id"],
        "role": holding.holder["role"],
        "kind": holding.holder["kind"],
        "belongs_to": holding.belongs_to["id"] if holding.belongs_to else None,
        "inherited_from": holding.inherited_from,
        "from": holding.within.first,
        "until": holding.within.over,
        "delegation": d["name"],
        "granted_by": _grantors(records, holding),
        "chain": [above["name"] for above in records.chain(d)],
        **{key: d[key] for key in (*terms, "purpose", "legal_basis", "revoked_at", "revoked_by", "revoked_because")},
        "columns_in_clear": {t["dataset"]: clear_fields(d, t) for t in shown(records, d)},
    }


def _facts_beside(sight: Sight) -> list[dict[str, Any]]:
    """What comes from being somebody, not from one delegation: the ledger (None: every sender's) and workspaces."""
    if sight.ledger == () and not sight.workspaces:
        return []
    workspaces = {province: "own" if is_own else "read" for province, is_own in sight.workspaces.items()}
    return [{"who": sight.holder["id"], "delegation": None, "ledger_of": sight.ledger, "workspaces": workspaces}]


def _holder(holding: Holding) -> str:
    belongs = f" ({holding.belongs_to['id']})" if holding.belongs_to else ""
    inherited = f", for · thay {holding.inherited_from}" if holding.inherited_from else ""
    return f"{holding.holder['id']}{belongs}{inherited}"


def _grantors(records: Records, holding: Holding) -> list[str]:
    return [str(d["grantor"]) for d in (holding.delegation, *records.chain(holding.delegation))]


def _clear(records: Records, holding: Holding, dataset: str) -> str:
    from warehouse.access.answers import clear_fields

    return ", ".join(clear_fields(holding.delegation, records.datasets[dataset])) or "–"


def _rows(holding: Holding) -> str:
    d = holding.delegation
    provinces = "all · tất cả" if d["provinces"] is None else ", ".join(d["provinces"])
    communes, more = (d["communes"] or ())[:_COMMUNES], len(d["communes"] or ()) - _COMMUNES
    of_communes = f"\ncommunes · xã: {', '.join(communes)}{f' +{more}' if more > 0 else ''}" if communes else ""
    has_periods = d["periods_from"] is not None or d["periods_until"] is not None
    periods = f"\nperiods · kỳ: {d['periods_from'] or '…'} – {d['periods_until'] or '…'}" if has_periods else ""
    return provinces + of_communes + periods


def _time(site: Site, holding: Holding) -> str:
    """From when to when it is, or was, so; with a word when that is over."""
    start, over = holding.within.first, holding.within.over
    ended = " ended · hết" if over is not None and over <= _now(site) else ""
    return f"{_moment(site, start) if start else '…'} –\n{_moment(site, over) if over else '…'}{ended}"


def _moment(site: Site, at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(site.settings.timezone)):%Y-%m-%d %H:%M}"
