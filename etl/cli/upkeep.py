"""The command `ndc upkeep`: what is to be done each night besides the deliveries."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, say
from expectations.faults import Message

if TYPE_CHECKING:
    from etl.upkeep import Upkeep

_SHOWN = 30


def add_to(whole: typer.Typer) -> None:
    whole.command()(upkeep)


def upkeep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who does it, for the audit table; default: this account.")] = None,
    as_json: Json = False,
) -> None:
    """End access that has expired, remove leftovers, prove who sees what; exit code 1 when a person must look. Việc hằng đêm."""
    from etl.upkeep import keep_up

    site = open_site()
    done = keep_up(
        site,
        by or getpass.getuser(),
        datetime.now(UTC),
        dry_run=dry_run,
        on_step=lambda step: console(to_errors=True).print(f"{step} …", style="dim"),
    )
    if as_json:
        print_json(_facts(done, dry_run=dry_run))
    else:
        _show(done, dry_run=dry_run)
    if done.needs_a_person:
        raise typer.Exit(1)


def _facts(done: Upkeep, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "needs_a_person": done.needs_a_person,
        "disabled": done.swept and done.swept.disabled,
        "access_statements": done.swept and done.swept.plan.statements,
        "removed": done.removed,
        "left": done.left,
        "findings": done.proof and [{"kind": f.kind, "rule": f.rule, "vi": f.message.vi, "en": f.message.en} for f in done.proof.findings],
        "trouble": {step: {"vi": m.vi, "en": m.en} for step, m in done.trouble.items()},
    }


def _show(done: Upkeep, *, dry_run: bool) -> None:
    from etl.upkeep import MEANINGS

    rows = []
    if done.swept:
        rows += [("logins disabled · tài khoản hết hạn đã khoá", len(done.swept.disabled))]
        rows += [("policies and grants brought up · quyền cập nhật", len(done.swept.plan.statements))]
    rows += [("leftovers removed · tệp thừa đã xoá", len(done.removed)), ("files for a person to look at · tệp cần xem", len(done.left))]
    if done.proof:
        rows += [("findings of the proof · sai lệch về quyền", len(done.proof.findings))]
    print_table("Upkeep, a trial · Thử" if dry_run else "Upkeep · Việc hằng đêm", ("what · việc", "count"), rows, right=("count",))
    for orphan in done.left[:_SHOWN]:
        meaning = MEANINGS[orphan.kind]
        say(Message(f"• {orphan.name}: {meaning.vi}", f"  {meaning.en}, since {orphan.modified:%Y-%m-%d}"))
    for finding in done.proof.findings[:_SHOWN] if done.proof else ():
        say(Message(f"✗ {finding.message.vi}", f"  {finding.message.en}"))
    for step, message in done.trouble.items():
        say(Message(f"✗ {step}: {message.vi}", f"  {message.en}"))
    if max(len(done.left), len(done.proof.findings) if done.proof else 0) > _SHOWN:
        console().print("… more with --json · còn nữa, xem --json")
    if done.needs_a_person:
        say(Message("Cần người xem: docs/how-to/backup.md nói phải làm gì.", "A person must look: docs/how-to/backup.md says what to do."))
    else:
        say(Message("✓ Không cần ai làm gì.", "Nothing needs a person."))
