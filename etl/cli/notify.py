"""The command `notify`: tell senders and the operator what is new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.deliveries import now_of
from etl.cli.output import Json, console, open_site, print_json, print_table, say
from expectations.faults import Message

if TYPE_CHECKING:
    from etl.notify import Draft, Sending


def add_to(app: typer.Typer) -> None:
    app.command()(notify)


def notify(
    sender: Annotated[str | None, typer.Option(help="Only this sender; the operator is not told then.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Tell each sender, and the operator, what is new since the last digest; one a night. Gửi bản tin. Exit code 4: a channel failed."""
    from etl.notify import draft_notices, send_notices

    site = open_site()
    if dry_run:
        drafts = draft_notices(site, now_of(site), only=sender)
        print_json([_draft_facts(draft) for draft in drafts]) if as_json else _show_drafts(drafts)
        return
    done = send_notices(site, lambda: now_of(site), only=sender)
    print_json([_facts(sending) for sending in done]) if as_json else _show(done)
    if not all(sending.is_whole for sending in done):
        raise typer.Exit(4)


def _draft_facts(draft: Draft) -> dict[str, Any]:
    return {"sender": draft.digest.sender, "subject": draft.words.subject, "text": draft.words.body, "channels": draft.channels}


def _facts(sending: Sending) -> dict[str, Any]:
    return {
        "sender": sending.sender,
        "subject": sending.subject,
        "file": sending.file,
        "sent": sending.sent,
        "failed": [one.place for one in sending.failed],
        "given_up": sending.given_up,
    }


def _show_drafts(drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        out = console()
        out.print(f"[bold]{draft.digest.sender or 'operator'}[/bold] → {', '.join(draft.channels) or 'file'}")
        out.print(draft.words.subject, markup=False)
        out.print(draft.words.body, markup=False)
    if not drafts:
        _say_nothing_is_new()


def _show(done: Sequence[Sending]) -> None:
    if not done:
        _say_nothing_is_new()
        return
    rows = [
        (
            sending.sender or "operator",
            sending.subject,
            ", ".join(sending.sent),
            ", ".join((*(one.place for one in sending.failed), *sending.given_up)),
            _shown(sending.file) if sending.file else "✗",
        )
        for sending in done
    ]
    print_table("Notices · Bản tin", ("to · cho", "subject · tiêu đề", "sent · đã gửi", "failed · lỗi", "file · tệp"), rows)
    if not all(sending.is_whole for sending in done):
        say(
            Message(
                "Có kênh chưa gửi được; chạy lại ndc notify sẽ chỉ gửi lại kênh đó.",
                "Some channels failed; the next ndc notify tries those again and no others.",
            )
        )


def _say_nothing_is_new() -> None:
    say(Message("Không có gì mới để báo.", "There is nothing new to tell."))


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
