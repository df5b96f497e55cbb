"""Commands about backups: create, list, check, restore."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, say
from expectations.faults import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.backup import Backup, Checked, Restored
    from etl.site import Site

app = typer.Typer(help="Backups of the warehouse, and their restore. Sao lưu và khôi phục kho.", no_args_is_help=True)
To = Annotated[Path | None, typer.Option("--to", help="Folder of the backups; default: <home>/backups.")]
Folder = Annotated[Path, typer.Argument(help="Folder of one backup.")]
_SHOWN = 20
_EVERY = 500


@app.command()
def create(
    to: To = None,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Keep so many; remove older ones once this one is complete.")] = None,
    as_json: Json = False,
) -> None:
    """Write the database, the roles and a listing of archive and lake into a new folder. Tạo bản sao lưu."""
    from etl.backup import create_backup

    site = open_site()
    backup = create_backup(site, _place(site, to), datetime.now(UTC), keep=keep, on_object=_progress())
    if as_json:
        print_json(_facts(backup))
        return
    _table([backup])
    say(_apart(site, backup))


@app.command("list")
def list_all(to: To = None, as_json: Json = False) -> None:
    """The whole backups of a folder, the newest first. Các bản sao lưu."""
    from etl.backup import list_backups

    found = list_backups(_place(open_site(), to))
    print_json([_facts(backup) for backup in found]) if as_json else _table(found)


@app.command()
def check(folder: Folder, as_json: Json = False) -> None:
    """Whether a backup is as it was written, and what archive and lake lack of it; exit code 1 when something does. Kiểm tra."""
    from etl.backup import check_backup

    checked = check_backup(open_site(), folder, on_object=_progress())
    if as_json:
        print_json(checked)
    else:
        _show_checked(checked)
    if not checked.is_sound:
        raise typer.Exit(1)


@app.command()
def restore(
    folder: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="See that it can be done; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make an empty installation what it was; archive, lake and pseudonym key must be in place. Exit code 1 when it differs. Khôi phục."""
    from etl.backup import check_backup, plan_restore, restore_backup

    site = open_site()
    if dry_run:
        backup, checked = plan_restore(site, folder), check_backup(site, folder, on_object=_progress())
        if as_json:
            print_json({**_facts(backup), "dry_run": True, "objects": checked})
        else:
            _table([backup])
            _show_checked(checked)
            say(Message("(thử) khôi phục được; chưa có gì thay đổi.", "(dry run) it can be restored; nothing was changed."))
        return
    done = restore_backup(site, folder, datetime.now(UTC), on_step=lambda step: console(to_errors=True).print(f"{step} …", style="dim"))
    if as_json:
        print_json({**_facts(done.backup), "is_equal": done.is_equal, "compared": done.compared, "differing": done.differing,
                    "objects": done.checked, "access_drift": done.drift, "later_deliveries": done.later_deliveries, "has_key": done.has_key})  # fmt: skip
    else:
        _show_restored(site, done)
    if not done.is_equal:
        raise typer.Exit(1)


def _place(site: Site, to: Path | None) -> Path:
    return (to or site.settings.home / "backups").absolute()


def _progress() -> Callable[[str], None]:
    """Says now and then how many files have been looked at."""
    count = 0

    def tell(name: str) -> None:
        nonlocal count
        count += 1
        if count % _EVERY == 0:
            console(to_errors=True).print(f"{count:,} files · tệp", style="dim")

    return tell


def _facts(backup: Backup) -> dict[str, Any]:
    return {"folder": backup.folder, "made_at": backup.made_at, "size_bytes": backup.size_bytes, "counts": backup.counts,
            "objects": backup.facts["objects"], "server": backup.facts["server"],
            "pseudonym_key_fingerprint": backup.facts["pseudonym_key_fingerprint"]}  # fmt: skip


def _table(backups: list[Backup]) -> None:
    columns = ("folder", "made", "MB", "deliveries", "rows", "people", "archive files", "lake files")
    rows = [
        (str(b.folder), f"{b.made_at:%Y-%m-%d %H:%M} UTC", b.size_bytes / 1e6, *(b.counts.get(n, 0) for n in ("deliveries", "rows", "people")),
         b.facts["objects"]["archive"], b.facts["objects"]["lake"])
        for b in backups
    ]  # fmt: skip
    print_table("Backups · Bản sao lưu", columns, rows, right=columns[2:])


def _apart(site: Site, backup: Backup) -> Message:
    """What a backup does not hold, and where it lies."""
    fingerprint = backup.facts["pseudonym_key_fingerprint"] or "–"
    secrets = site.settings.home / "secrets"
    return Message(
        f"Không có trong bản sao lưu, hãy cất riêng: khoá bí danh (vân tay {fingerprint}) và mật khẩu ở {secrets}, kho lưu {site.archive.address}, "
        f"hồ {site.lake.address}. Hãy chép bản sao lưu sang máy khác.",
        f"Not in the backup, keep them apart: the pseudonym key (fingerprint {fingerprint}) and the passwords in {secrets}, the archive {site.archive.address}, "
        f"the lake {site.lake.address}. Copy the backup to another machine.",
    )


def _show_checked(checked: Checked) -> None:
    rows = [
        ("files of the backup that changed · tệp sao lưu bị đổi", len(checked.broken)),
        ("missing in archive and lake · thiếu trong kho lưu và hồ", len(checked.missing)),
        ("changed, though they never should · bị đổi, đáng lẽ không", len(checked.changed)),
        ("newer: replaced by deliveries since · mới hơn", len(checked.newer)),
        ("added since · thêm sau đó", checked.added),
    ]
    print_table("Check · Kiểm tra", ("what · việc", "files"), rows, right=("files",))
    wrong = [*checked.broken, *checked.missing, *checked.changed]
    for name in wrong[:_SHOWN]:
        console().print(f"  ✗ {name}", markup=False)
    if len(wrong) > _SHOWN:
        console().print(f"  … {len(wrong) - _SHOWN} more with --json · còn nữa, xem --json")


def _show_restored(site: Site, done: Restored) -> None:
    _table([done.backup])
    _show_checked(done.checked)
    agree = done.compared - len(done.differing)
    say(
        Message(
            f"{agree}/{done.compared} phân vùng khớp giữa sổ, kho và hồ.",
            f"{agree} of {done.compared} partitions agree in ledger, warehouse and lake.",
        )
    )
    for each in done.differing[:_SHOWN]:
        console().print(f"  ≠ {each.partition}", markup=False)
    if done.drift:
        say(Message(f"✗ {len(done.drift)} quyền khác với phân quyền; hãy chạy: ndc delegations plan",
                    f"{len(done.drift)} rights differ from what the delegations ask for; run: ndc delegations plan"))  # fmt: skip
    if not done.has_key:
        say(Message(f"✗ Thiếu khoá bí danh của bản sao lưu: hãy đặt lại {site.pseudonym_key.file} trước khi nạp.",
                    f"The pseudonym key of the backup is missing: put {site.pseudonym_key.file} back before anything is loaded."))  # fmt: skip
    if done.later_deliveries:
        say(Message(f"✗ Kho lưu có {done.later_deliveries} đợt gửi sau bản sao lưu; hãy nạp lại từ kho lưu (docs/how-to/backup.md).",
                    f"The archive has {done.later_deliveries} deliveries that came after the backup; deliver them again from there (docs/how-to/backup.md)."))  # fmt: skip
    if done.is_equal:
        say(
            Message(
                "✓ Đã khôi phục, mọi thứ khớp. Tiếp theo: ndc migrate, ndc access prove",
                "Restored, and everything agrees. Next: ndc migrate, ndc access prove",
            )
        )
    else:
        say(Message("Đã khôi phục, nhưng có chỗ khác như trên.", "Restored, with the differences above."))
