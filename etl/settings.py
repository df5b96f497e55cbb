"""Settings: where things are and which limits hold, read once from the environment by the command or the DAG.

`NDC_HOME` (default `.ndc`) holds everything that is not set otherwise. The table in docs/settings.md is made from this module.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from expectations.faults import Message, SetupFault

Login = Literal["service", "task"]
ROOT = Path(__file__).resolve().parent.parent
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable, what it means and what holds without it."""

    name: str
    default: str
    meaning: str


SETTINGS = (
    Setting("NDC_HOME", ".ndc", "folder of this installation: inbox, outbox, archive, lake, embedded server, secrets"),
    Setting("NDC_INBOX", "<home>/inbox", "where senders' files arrive: <sender>/<dataset>/<file>"),
    Setting("NDC_OUTBOX", "<home>/outbox", "where receipts are written: <sender>/…"),
    Setting("NDC_ARCHIVE", "<home>/archive", "bytes as received; a folder, or s3://bucket/path"),
    Setting("NDC_LAKE", "<home>/lake", "Parquet partitions; a folder, or s3://bucket/path"),
    Setting("NDC_CONTRACTS", "expectations/contracts", "folder of the contracts (*.odcs.yaml)"),
    Setting("NDC_REFERENCE", "warehouse/reference", "folder of the province registry"),
    Setting("NDC_ACCESS", "warehouse/access", "folder of who sees what: organisations.yaml and delegations/*.yaml"),
    Setting("NDC_WAREHOUSE_URL", "(embedded server)", "PostgreSQL login of the pipeline: postgresql://user:password@host/database"),
    Setting(
        "NDC_WAREHOUSE_URL_FILE",
        "(not set)",
        "file that holds NDC_WAREHOUSE_URL, in its place: a secret that stands in no environment; only its owner and group may read it",
    ),
    Setting(
        "NDC_LOGIN",
        "service",
        "service, or task: a login that can become ndc_loader alone (on the embedded server: ndc_task); "
        "commands that need the owner or the administrator refuse",
    ),
    Setting(
        "NDC_PSEUDONYM_KEY",
        "<home>/secrets/pseudonym_key",
        "the key of the pseudonyms, 32 random characters or more; without it a file, made when it is first needed",
    ),
    Setting("NDC_CONTACTS", "<home>/contacts.yaml", "who is told, and through which channels; without the file digests are files only"),
    Setting("NDC_LINK", "(none)", "address of the status pages, such as https://server/status, for links in the operator's notices"),
    Setting("NDC_TIMEZONE", "Asia/Ho_Chi_Minh", "the time zone of receipts and schedules"),
    Setting("NDC_SETTLE_SECONDS", "2", "a file that changed less than this long ago is looked at twice"),
    Setting("NDC_APPROVAL_HOURS", "168", "how long a held delivery waits for a person before the scheduler rejects it"),
    Setting("NDC_BATCH_ROWS", "50000", "lines judged at once; memory grows with it"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one installation. `archive` and `lake` are a folder's path or an `s3://` address."""

    home: Path
    inbox: Path
    outbox: Path
    archive: str
    lake: str
    contracts: Path
    reference: Path
    access: Path = ROOT / "warehouse" / "access"
    warehouse_url: str | None = field(default=None, repr=False)
    login: Login = "service"
    timezone: str = "Asia/Ho_Chi_Minh"
    settle_seconds: float = 2.0
    batch_rows: int = 50_000
    approval_hours: float = 168.0
    contacts: Path | None = None
    link: str | None = None
    server_settings: Mapping[str, str] = field(default_factory=dict)
    pseudonym_key: str | None = field(default=None, repr=False)

    @property
    def contacts_file(self) -> Path:
        """The file of contacts. One that was named must be there; the one at home may be absent."""
        return self.contacts or self.home / "contacts.yaml"

    @property
    def work(self) -> Path:
        """Where files lie that a delivery needs only while it is under way."""
        return self.home / "work"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables. Raises `SetupFault` for a name that begins with NDC_ and is not known."""
    known = {s.name for s in SETTINGS}
    for name in environment:
        if name.startswith("NDC_") and name not in known:
            raise SetupFault(
                Message(
                    f"Không biết biến môi trường {name}; có: {', '.join(sorted(known))}.",
                    f"Unknown setting {name}; there are {', '.join(sorted(known))}.",
                ),
                rule="unknown-setting",
            )
    home = Path(environment.get("NDC_HOME") or ".ndc").absolute()
    return Settings(
        home=home,
        inbox=Path(environment.get("NDC_INBOX") or home / "inbox").absolute(),
        outbox=Path(environment.get("NDC_OUTBOX") or home / "outbox").absolute(),
        archive=environment.get("NDC_ARCHIVE") or str(home / "archive"),
        lake=environment.get("NDC_LAKE") or str(home / "lake"),
        contracts=Path(environment.get("NDC_CONTRACTS") or ROOT / "expectations" / "contracts").absolute(),
        reference=Path(environment.get("NDC_REFERENCE") or ROOT / "warehouse" / "reference").absolute(),
        access=Path(environment.get("NDC_ACCESS") or ROOT / "warehouse" / "access").absolute(),
        warehouse_url=_warehouse_url(environment),
        login=_login(environment.get("NDC_LOGIN") or "service"),
        contacts=Path(environment["NDC_CONTACTS"]).absolute() if environment.get("NDC_CONTACTS") else None,
        link=_link(environment.get("NDC_LINK") or None),
        timezone=_zone(environment.get("NDC_TIMEZONE") or "Asia/Ho_Chi_Minh"),
        settle_seconds=_number(environment, "NDC_SETTLE_SECONDS", 2.0),
        approval_hours=_number(environment, "NDC_APPROVAL_HOURS", 168.0, least=0.001),
        batch_rows=int(_number(environment, "NDC_BATCH_ROWS", 50_000, least=1)),
        pseudonym_key=_key(environment.get("NDC_PSEUDONYM_KEY") or None),
    )


def _warehouse_url(environment: Mapping[str, str]) -> str | None:
    """The warehouse's address, itself or from a file.

    The file may be read by its group, and by nobody else: a container's secret is often a file of the host's that the container's
    account reaches only by a group (Compose keeps owner and mode; for Swarm, whose default is 0444, say `mode: 0440`).
    """
    url, name = environment.get("NDC_WAREHOUSE_URL") or None, environment.get("NDC_WAREHOUSE_URL_FILE")
    if not name:
        return url
    if url:
        raise SetupFault(
            Message(
                "NDC_WAREHOUSE_URL và NDC_WAREHOUSE_URL_FILE cùng được đặt; chỉ giữ một.",
                "NDC_WAREHOUSE_URL and NDC_WAREHOUSE_URL_FILE are both set; keep one.",
            ),
            rule="setting",
        )
    try:
        with Path(name).open() as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SetupFault(
            Message(
                f"NDC_WAREHOUSE_URL_FILE={name}: không đọc được ({reason}).", f"NDC_WAREHOUSE_URL_FILE={name}: cannot be read ({reason})."
            ),
            rule="setting",
        ) from error
    if stat.S_IMODE(mode) & 0o007:
        raise SetupFault(
            Message(
                f"NDC_WAREHOUSE_URL_FILE={name}: ai cũng đọc được mật khẩu. Hãy chạy: chmod o= {name}; nếu đã có người đọc, hãy đổi mật khẩu.",
                f"NDC_WAREHOUSE_URL_FILE={name}: everybody can read the password. Run: chmod o= {name}; if somebody did, change it.",
            ),
            rule="setting",
        )
    if not text:
        raise SetupFault(
            Message(f"NDC_WAREHOUSE_URL_FILE={name}: tệp trống.", f"NDC_WAREHOUSE_URL_FILE={name}: the file is empty."), rule="setting"
        )
    return text


def _login(text: str) -> Login:
    if text not in get_args(Login):
        raise SetupFault(
            Message(f"NDC_LOGIN={text}: cần service hoặc task.", f"NDC_LOGIN={text}: service or task is needed."), rule="setting"
        )
    return cast("Login", text)


def _key(text: str | None) -> str | None:
    if text is not None and len(text) < _KEY_LENGTH:
        raise SetupFault(
            Message(
                f"NDC_PSEUDONYM_KEY: cần ít nhất {_KEY_LENGTH} ký tự ngẫu nhiên, ví dụ: openssl rand -hex 32",
                f"NDC_PSEUDONYM_KEY: {_KEY_LENGTH} random characters or more are needed, for example: openssl rand -hex 32",
            ),
            rule="setting",
        )
    return text


def _link(text: str | None) -> str | None:
    """An address that may stand in a mail: no user, password or question in it."""
    if text is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", text):
        raise SetupFault(
            Message(
                "NDC_LINK: cần địa chỉ dạng https://máy-chủ/đường-dẫn, không kèm tài khoản hay tham số.",
                "NDC_LINK: an address such as https://server/path is needed, without a login and without parameters.",
            ),
            rule="setting",
        )
    return text


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SetupFault(
            Message(f"NDC_TIMEZONE={name}: không có múi giờ này.", f"NDC_TIMEZONE={name}: there is no such time zone."), rule="setting"
        ) from error
    return name


def _number(environment: Mapping[str, str], name: str, default: float, least: float = 0) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value < 1e12:
        raise SetupFault(
            Message(f"{name}={text}: cần một số từ {least:g} trở lên.", f"{name}={text}: a number of {least:g} or more is needed."),
            rule="setting",
        )
    return value
