"""The alarm of a task that failed for good. It must ring when the warehouse does not, so it asks nothing of it.

Answers for: a file in `<home>/alarms`, always; the operator's channels where there are any. Once for a cause and a day; repeats are counted.
Refuses: values: an unexpected error is told by its kind alone.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from etl.settings import Settings
from expectations.faults import Fault, Message


def raise_alarm(settings: Settings, where: str, cause: BaseException | None, link: str | None, at: datetime) -> Path:
    """Write the alarm down and tell the operator, unless the same was told on this day; returns its file."""
    message = _message(cause)
    kind = getattr(cause, "rule", None) or type(cause).__name__
    folder = settings.home / "alarms"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"{at:%Y-%m-%d}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', f'{where}-{kind}')}.json"
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"first": at.isoformat(), "times": 0}
    facts = {**before, "where": where, "kind": kind, "vi": message.vi, "en": message.en, "link": link, "last": at.isoformat()}
    facts["times"] += 1
    _write(file, facts)
    if facts["times"] == 1:
        _tell(settings, where, message, link)
    return file


def _message(cause: BaseException | None) -> Message:
    if isinstance(cause, Fault):
        return cause.message
    name = type(cause).__name__ if cause else "unknown"
    return Message(f"Lỗi ngoài dự kiến ({name}); xem nhật ký của tác vụ.", f"Unexpected fault ({name}); see the task's log.")


def _write(file: Path, facts: dict[str, Any]) -> None:
    partial = file.with_suffix(".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(facts, out, ensure_ascii=False, indent=2)
    partial.replace(file)


def _tell(settings: Settings, where: str, message: Message, link: str | None) -> None:
    from etl.notify import tell_operator

    text = "\n".join(filter(None, (where, message.vi, message.en, link)))
    tell_operator(settings, f"ndc ALARM: {where}", text)
