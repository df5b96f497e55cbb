"""Connections to the warehouse.

Answers for: every transaction runs as one of the pipeline's roles and never as a superuser; a server that is down, too old or
not migrated is said in one sentence. Refuses: servers with known holes in row security.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from expectations.faults import MachineFault, Message, SetupFault

if TYPE_CHECKING:
    from sqlalchemy import URL as URL  # these names are for other layers, too, which do not import the driver
    from sqlalchemy import Connection as Connection
    from sqlalchemy import Engine

Role = Literal["ndc_owner", "ndc_loader", "ndc_centre"]
FIRST_SAFE = {15: 14, 16: 10, 17: 6}
"""The first minor release of each major one without the row-security faults of 2024 and 2025 (CVE-2024-10976, CVE-2025-8713)."""


class Warehouse:
    """The warehouse behind one URL. `url` is the pipeline's login, which may become `ndc_owner` and `ndc_loader`, or a task's."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @cached_property
    def engine(self) -> Engine:
        from sqlalchemy import create_engine

        return create_engine(
            self.url.set(drivername="postgresql+psycopg"), pool_size=4, connect_args={"connect_timeout": 10, "application_name": "ndc"}
        )

    @contextmanager
    def transaction(self, role: Role = "ndc_loader") -> Iterator[Connection]:
        """One transaction as `role`: committed when the block ends, rolled back when it raises.

        Raises `MachineFault` when the server does not answer, `SetupFault` when it is too old or not migrated.
        """
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError, OperationalError

        try:
            connection = self.engine.connect()
        except OperationalError as error:
            raise unreachable(self.url, error) from error
        with _lost_connections_told(self.url), connection:
            check_version(connection)
            with connection.begin():
                try:
                    connection.execute(text(f"SET LOCAL ROLE {role}"))
                except OperationalError:
                    raise
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", "") == "42501":
                        raise SetupFault(_NOT_THAT_ROLE.fill(login=self.url.username, role=role), rule="not-migrated") from error
                    raise SetupFault(_NOT_MIGRATED, rule="not-migrated") from error
                yield connection

    def dispose(self) -> None:
        """Close idle connections."""
        if "engine" in self.__dict__:
            self.engine.dispose()


@contextmanager
def _lost_connections_told(url: URL) -> Iterator[None]:
    """A server that goes away, or has no room left, in the middle of the work is a fault of the machine."""
    from psycopg import OperationalError
    from sqlalchemy.exc import OperationalError as WrappedError

    try:
        yield
    except (OperationalError, WrappedError) as error:
        state = getattr(getattr(error, "orig", error), "sqlstate", None) or "08000"
        if state[:2] in ("08", "53", "57"):
            raise unreachable(url, error) from error
        raise


_NOT_MIGRATED = Message(
    "Kho dữ liệu chưa được khởi tạo hoặc tài khoản thiếu quyền; hãy chạy: ndc migrate",
    "The warehouse is not set up, or the login lacks the pipeline's roles; run: ndc migrate",
)
_NOT_THAT_ROLE = Message(
    "Tài khoản {login} không được trở thành {role}. Nếu NDC_LOGIN=task, hãy chạy lệnh này với NDC_LOGIN=service; nếu không, hãy chạy: ndc migrate",
    "The login {login} may not become {role}. With NDC_LOGIN=task, run this with NDC_LOGIN=service; otherwise run: ndc migrate",
)


def unreachable(url: URL, error: Exception) -> MachineFault:
    """What to say when a server does not answer; without the password and without the driver's trace."""
    where = f"{url.host}:{url.port or 5432}/{url.database}"
    reason = str(getattr(error, "orig", error)).strip().splitlines()[0] if str(error) else type(error).__name__
    return MachineFault(
        Message(
            f"Không kết nối được PostgreSQL ở {where}: {reason}. Hãy kiểm tra máy chủ và NDC_WAREHOUSE_URL; chưa có gì bị mất, chạy lại sau sẽ tiếp tục.",
            f"PostgreSQL at {where} does not answer: {reason}. Check the server and NDC_WAREHOUSE_URL; nothing is lost, a later run goes on.",
        ),
        rule="warehouse-down",
    )


def check_version(connection: Connection) -> None:
    """Raise `SetupFault` when the server is older than the releases that mended row security."""
    raw: Any = connection.connection.dbapi_connection
    check_version_number(raw.info.server_version)


def check_version_number(number: int) -> None:
    """The same for a version as the server counts it: 150018 is 15.18."""
    major, minor = divmod(number, 10_000)
    if major < min(FIRST_SAFE) or minor < FIRST_SAFE.get(major, 0):
        safe = ", ".join(f"{m}.{n}" for m, n in FIRST_SAFE.items())
        raise SetupFault(
            Message(
                f"PostgreSQL {major}.{minor} có lỗ hổng về bảo mật theo dòng; cần ít nhất {safe} hoặc 18. Hãy nâng cấp máy chủ.",
                f"PostgreSQL {major}.{minor} has known holes in row security; at least {safe} or 18 is needed. Upgrade the server.",
            ),
            rule="warehouse-too-old",
        )


def run_script(connection: Connection, sql: str) -> None:
    """Run one or more statements that take no parameters, just as they stand."""
    connection.exec_driver_sql(sql.replace("%", "%%"))
