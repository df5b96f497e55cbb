"""Commands about files and deliveries: check, deliver, run, deliveries, rejections, approve, reject, verify, rebuild."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, progress_bar, say, state_text

if TYPE_CHECKING:
    from etl.run import Result
    from etl.site import Site
    from etl.trial import Trial
    from warehouse.ledger import Delivery

Dataset = Annotated[str | None, typer.Option(help="Only this dataset.")]
Province = Annotated[str | None, typer.Option(help="Only this province (province_id).")]
PeriodOption = Annotated[str | None, typer.Option("--period", help="2025, 2025-Q2, 2025-06 or 2025-06-10.")]
Periods = Annotated[str | None, typer.Option("--period", help="2025, 2025-Q2, 2025-06, 2025-06-10, or a range 2025-01..2025-06.")]


def add_to(app: typer.Typer) -> None:
    for command in (check, deliver, run, deliveries, rejections, approve, reject, verify, rebuild):
        app.command()(command)


def now_of(site: Site) -> datetime:
    return datetime.now(ZoneInfo(site.settings.timezone))


def check(
    file: Annotated[Path, typer.Argument(help="The file to judge.")],
    sender: Annotated[str | None, typer.Option(help="Who sends it; by default the folder it lies in.")] = None,
    dataset: Annotated[str | None, typer.Option(help="By default what its name says.")] = None,
    period: PeriodOption = None,
    as_json: Json = False,
) -> None:
    """Judge a file without storing anything; needs no warehouse. Kiểm tra tệp trước khi gửi."""
    from etl.trial import check_file

    site = open_site()
    bar = progress_bar(not as_json)
    bar.start(1)
    trials = check_file(site, file, sender, dataset, period, now_of(site).date(), bar.begin(file.name))
    bar.end()
    _show_trials([(file.name, trials)], as_json)


def deliver(
    file: Annotated[Path, typer.Argument(help="The file to deliver; it stays where it is.")],
    sender: Annotated[str, typer.Option(help="A province_id, or the name of a central body.")],
    dataset: Annotated[str | None, typer.Option(help="By default what its name says.")] = None,
    period: PeriodOption = None,
    as_json: Json = False,
) -> None:
    """Deliver one file as if it had arrived in the sender's inbox. Gửi một tệp."""
    from etl.run import deliver_file

    site = open_site()
    bar = progress_bar(not as_json)
    bar.start(1)
    result = deliver_file(site, file, sender, dataset, period, now_of(site), bar.begin(file.name))
    bar.end()
    show_result(site, result, as_json)


def run(
    dataset: Dataset = None,
    province: Province = None,
    period: Periods = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; store nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Receive and load everything in the inbox, after finishing what is unfinished. Nạp mọi tệp trong hộp đến."""
    from etl.run import Only, parse_periods
    from etl.run import run as run_inbox
    from etl.trial import try_run

    site = open_site()
    only = Only(dataset, (province,) if province else (), parse_periods(period))
    if dry_run:
        tried = [
            (f"{arrival.sender}/{arrival.path.name}", trials)
            for arrival, trials in try_run(site, only, now_of(site), progress_bar(not as_json))
        ]
        _show_trials(tried, as_json)
        return
    result = run_inbox(site, only, lambda: now_of(site), progress_bar(not as_json))
    show_result(site, result, as_json)


def deliveries(
    dataset: Dataset = None,
    sender: Annotated[str | None, typer.Option(help="Only of this sender.")] = None,
    state: Annotated[str | None, typer.Option(help="received, held, returned, loaded, stored or superseded.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many, newest first; 0 for all.")] = 30,
    as_json: Json = False,
) -> None:
    """What has been delivered, newest first. Sổ đợt gửi."""
    from warehouse import ledger

    site = open_site()
    with site.warehouse.transaction() as connection:
        found = ledger.deliveries(connection, dataset=dataset, sender=sender, state=state, limit=limit or None)
    if as_json:
        print_json([delivery_facts(site, d) for d in found])
        return
    show_deliveries(site, "Deliveries · Các đợt gửi", found)


def rejections(
    delivery: Annotated[int, typer.Argument(help="The delivery's number.")],
    limit: Annotated[int, typer.Option(min=0, help="How many lines to show; 0 for all.")] = 50,
    as_json: Json = False,
) -> None:
    """The lines of a delivery that were refused or warned of, and why. Các dòng bị từ chối."""
    from warehouse import ledger

    site = open_site()
    with site.warehouse.transaction() as connection:
        one = ledger.get(connection, delivery)
        by_rule = ledger.rejections_by_rule(connection, delivery)
        lines = list(ledger.rejections(connection, delivery, limit or None))
    if as_json:
        print_json({"delivery": delivery_facts(site, one), "by_rule": by_rule, "lines": lines})
        return
    for reason in (*one.reasons, *one.notices):
        say(reason.message)
    print_table(
        f"Delivery {delivery}: by rule · theo quy tắc",
        ("rule", "severity", "lines", "first lines", "message"),
        [
            (r["rule"], r["severity"], r["lines"], ", ".join(map(str, r["first_lines"])), f"{r['message_vi']}\n{r['message_en']}")
            for r in by_rule
        ],
        right=("lines",),
    )
    print_table(
        "Lines · Các dòng",
        ("line", "field", "rule", "severity", "value"),
        [(str(x.line), x.field, x.rule, x.severity, x.value) for x in lines],
    )
    total = sum(r["lines"] for r in by_rule)
    if total > len(lines):
        console().print(f"[dim]{len(lines)} of {total} shown; --limit 0 shows all · hiển thị {len(lines)} trong {total}[/dim]")


Reason = Annotated[str, typer.Option(help="Why; it is kept with your name.")]
By = Annotated[str | None, typer.Option(help="Who decides; by default the account's name.")]


def approve(delivery: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Load a held delivery. Chấp nhận đợt gửi đang tạm giữ."""
    from etl.run import approve as approve_held

    site = open_site()
    done = approve_held(site, delivery, by=by or getpass.getuser(), reason=reason, now=now_of(site))
    print_json(delivery_facts(site, done)) if as_json else show_deliveries(site, "Approved · Đã chấp nhận", [done])
    if done.state != "stored":
        raise typer.Exit(1)


def reject(delivery: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Return a held delivery to its sender. Trả lại đợt gửi đang tạm giữ."""
    from etl.run import reject as reject_held

    site = open_site()
    done = reject_held(site, delivery, by=by or getpass.getuser(), reason=reason, now=now_of(site))
    print_json(delivery_facts(site, done)) if as_json else show_deliveries(site, "Returned · Đã trả lại", [done])


def verify(as_json: Json = False) -> None:
    """Compare lake, warehouse and ledger, partition by partition. Đối chiếu kho, hồ và sổ."""
    from etl.verify import verify as compare

    site = open_site()
    found = list(compare(site))
    wrong = [c for c in found if not c.agrees]
    if as_json:
        print_json({"partitions": len(found), "agree": len(found) - len(wrong), "differ": wrong})
    else:
        if wrong:
            columns = ("partition", "delivery", "ledger rows", "warehouse rows", "lake rows", "checksums")
            rows = [
                (
                    c.partition,
                    c.delivery_id,
                    c.ledger.rows,
                    c.warehouse.rows,
                    c.lake.rows,
                    "≠" if c.ledger.rows == c.warehouse.rows == c.lake.rows else "",
                )
                for c in wrong
            ]
            print_table("Differences · Khác nhau", columns, rows, right=columns[2:5])
        console().print(
            f"{len(found) - len(wrong)} of {len(found)} partitions agree in ledger, warehouse and lake · {len(found) - len(wrong)}/{len(found)} phân vùng khớp"
        )
    if wrong:
        raise typer.Exit(1)


def rebuild(
    archive: Annotated[str | None, typer.Option(help="The archive to rebuild from; by default NDC_ARCHIVE.")] = None,
    as_json: Json = False,
) -> None:
    """Make warehouse and lake again from an archive and its ledger, into an empty home. Dựng lại từ kho lưu."""
    from etl.cli.server import migrate_site
    from etl.rebuild import rebuild as make_again
    from etl.store import Store

    site = open_site()
    migrate_site(site)
    bar = progress_bar(not as_json)
    is_started = False

    def on_each(done: int, total: int) -> None:
        nonlocal is_started
        if not is_started:
            bar.start(total)
            is_started = True
        bar.end()

    count = make_again(site, Store(archive) if archive else site.archive, now_of(site), on_each)
    print_json({"deliveries": count}) if as_json else console().print(f"{count} deliveries rebuilt · đã dựng lại {count} đợt gửi")


# ---------------------------------------------------------------- showing


def delivery_facts(site: Site, delivery: Delivery) -> dict[str, Any]:
    """A delivery for machines."""
    from dataclasses import asdict

    contract = site.contracts.get(delivery.dataset or "")
    facts = asdict(delivery)
    facts["period"] = str(delivery.period_of(contract.periodicity)) if contract and delivery.period else None
    facts["reasons"] = [r.as_json() for r in delivery.reasons]
    facts["notices"] = [n.as_json() for n in delivery.notices]
    facts["receipt"] = str(receipt_of(site, delivery))
    return facts


def receipt_of(site: Site, delivery: Delivery) -> Path:
    """Where the delivery's receipt lies."""
    from etl.deliver import receipt_folder

    return receipt_folder(site, delivery)


def show_deliveries(site: Site, title: str, found: Sequence[Delivery], states: dict[int, str] | None = None) -> None:
    rows = []
    for d in found:
        contract = site.contracts.get(d.dataset or "")
        period = str(d.period_of(contract.periodicity)) if contract and d.period else None
        receipt = receipt_of(site, d)
        place = receipt.relative_to(Path.cwd()) if receipt.is_relative_to(Path.cwd()) else receipt
        state = state_text((states or {}).get(d.delivery_id, d.state))
        rows.append(
            (
                str(d.delivery_id),
                d.sender,
                d.dataset,
                period,
                d.province_id,
                state,
                d.lines_read,
                d.lines_loaded,
                d.lines_rejected,
                str(place),
            )
        )
    columns = ("no.", "sender", "dataset", "period", "province", "state", "read", "loaded", "rejected", "receipt")
    print_table(title, columns, rows, right=("no.", "read", "loaded", "rejected"))


def show_result(site: Site, result: Result, as_json: bool) -> None:
    """What a run did; exit code 1 when something needs a person."""
    needs_care = [d for d in result.done if d.state in ("returned", "held")]
    if as_json:
        print_json(
            {
                "done": [delivery_facts(site, d) for d in result.done],
                "unchanged": [d.delivery_id for d in result.unchanged],
                "waiting": result.waiting,
                "trouble": result.trouble,
            }
        )
    else:
        if result.done or result.unchanged:
            states = {d.delivery_id: "unchanged" for d in result.unchanged}
            show_deliveries(site, "Run · Lần chạy", [*result.done, *result.unchanged], states)
        for d in needs_care:
            for reason in d.reasons:
                console().print(f"[bold]{d.delivery_id}[/bold] {d.file_name}")
                say(reason.message)
        for name in result.waiting:
            console().print(f"… {name}: vẫn đang được ghi, để lần sau · still being written, left for the next run")
        for trouble in result.trouble:
            console(to_errors=True).print(f"[bold red]✗[/bold red] {trouble.where}")
            say(trouble.message, to_errors=True)
        counts = {s: sum(d.state == s for d in result.done) for s in ("stored", "returned", "held")}
        console().print(
            f"{counts['stored']} loaded · {counts['returned']} returned · {counts['held']} held · {len(result.unchanged)} unchanged · {len(result.waiting)} waiting"
        )
    if result.trouble:
        raise typer.Exit(3)
    if needs_care:
        raise typer.Exit(1)


def _show_trials(tried: Sequence[tuple[str, Sequence[Trial]]], as_json: bool) -> None:
    words = {"load": "would load · sẽ nạp", "hold": "would be held · sẽ tạm giữ", "return": "would be returned · sẽ trả lại"}
    if as_json:
        print_json([{"file": name, "parts": [_trial_facts(t) for t in trials]} for name, trials in tried])
    else:
        rows = [
            (
                name,
                t.dataset,
                t.period,
                t.province_id,
                words[t.verdict.action],
                t.judged.read if t.judged else 0,
                t.judged.faulty if t.judged else 0,
            )
            for name, trials in tried
            for t in trials
        ]
        columns = ("file", "dataset", "period", "province", "verdict", "read", "faulty")
        print_table("Check · Kiểm tra", columns, rows, right=("read", "faulty"))
        for name, trials in tried:
            for t in trials:
                _explain(name, t)
    if any(t.verdict.action != "load" for _, trials in tried for t in trials):
        raise typer.Exit(1)


def _trial_facts(trial: Trial) -> dict[str, Any]:
    judged = trial.judged
    return {
        "dataset": trial.dataset,
        "period": trial.period,
        "province_id": trial.province_id,
        "verdict": trial.verdict.action,
        "reasons": [r.as_json() for r in trial.verdict.reasons],
        "read": judged.read if judged else None,
        "faulty": judged.faulty if judged else None,
        "notices": [n.as_json() for n in judged.notices] if judged else [],
        "by_rule": trial.by_rule,
        "reconciliation": judged.reconciliations if judged else [],
    }


def _explain(name: str, trial: Trial) -> None:
    judged = trial.judged
    for reason in (*trial.verdict.reasons, *(judged.notices if judged else ())):
        say(reason.message)
    if trial.by_rule:
        rows = [
            (r["rule"], r["severity"], r["lines"], ", ".join(map(str, r["first_lines"])), f"{r['message_vi']}\n{r['message_en']}")
            for r in trial.by_rule
        ]
        print_table(f"{name}: what to mend · cần sửa", ("rule", "severity", "lines", "first lines", "message"), rows, right=("lines",))
    differ = [r for r in judged.reconciliations if not r.ties] if judged else []
    if differ:
        columns = ("total", "measure", "declared", "computed", "difference")
        print_table("Totals that differ · Tổng không khớp", columns, [(r.scope, r.measure, r.declared, r.computed, r.computed - r.declared) for r in differ], right=columns[2:])  # fmt: skip
