"""Queries of people, with their own login.

Answers for: one query, read only, and every refusal as one sentence with the way out. Refuses: COPY and several statements;
psql is there for those.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from expectations.faults import Message, SetupFault
from warehouse.engine import unreachable

if TYPE_CHECKING:
    from psycopg import Error
    from sqlalchemy import URL

_COPY = Message(
    "COPY không chạy được qua ndc sql; hãy dùng --csv, hoặc mở psql (ndc sql không kèm câu lệnh) và \\copy (SELECT …) TO 'tệp.csv' CSV HEADER",
    "COPY does not go through ndc sql; use --csv, or open psql (ndc sql without a query) and \\copy (SELECT …) TO 'file.csv' CSV HEADER",
)
_SEVERAL = Message(
    "ndc sql chạy từng câu lệnh một; nhiều câu lệnh thì mở psql: ndc sql không kèm câu lệnh.",
    "ndc sql runs one statement at a time; for several open psql: ndc sql without a query.",
)
_TOO_LONG = Message(
    "Câu lệnh chạy quá thời hạn của tài khoản này (SHOW statement_timeout); hãy thu hẹp, ví dụ theo kỳ hoặc tỉnh.",
    "The query took longer than this login may (SHOW statement_timeout); narrow it, by period or province for example.",
)
_LOGIN = Message("Máy chủ không cho đăng nhập {login}: {said}.", "The server refused the login {login}: {said}.")
_HINTS = {
    "42501": Message(
        " Cột hạn chế (dữ liệu cá nhân) nằm ở personal.<tập>, ghép sẵn ở national.<tập>_in_clear; ai được giao mới đọc được. "
        "Chưa được giao thì hỏi: ndc access why-empty",
        " Restricted columns (personal data) are in personal.<dataset>, joined in national.<dataset>_in_clear, for those who hold a delegation of them. "
        "Without a delegation ask: ndc access why-empty",
    ),
    "25006": Message(
        " ndc sql chỉ đọc; để ghi vào không gian làm việc hãy mở psql: ndc sql không kèm câu lệnh.",
        " ndc sql only reads; to write in a workspace open psql: ndc sql without a query.",
    ),
}
_AT_THE_DOOR = re.compile(  # libpq gives no SQLSTATE for a login that the server refused
    r"authentication failed|no password supplied|not permitted to log in|permission denied for database|no pg_hba\.conf entry"
    r'|too many connections for role|(role|database) "[^"]*" does not exist'
)


def query_rows(url: URL, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of one query, read only. Raises `SetupFault` with the database's own words when it is refused."""
    import psycopg

    try:
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False), connect_timeout=10) as connection:
            connection.read_only = True
            try:
                cursor = connection.execute(sql.encode(), prepare=True)  # what is prepared is one statement, the server sees to it
            except psycopg.ProgrammingError as error:
                if error.sqlstate is None:  # the driver's own word on COPY, which is still under way
                    connection.close()
                    raise SetupFault(_COPY, rule="query") from error
                raise
            if cursor.description is None:
                return [], []
            return [column.name for column in cursor.description], cursor.fetchall()
    except psycopg.Error as error:
        raise _refusal(url, error) from error


def login_refused(url: URL, error: Error) -> SetupFault | None:
    """What to say when the server did not let a login in; None when something else is the matter."""
    said = str(error).strip()
    if error.sqlstate is not None or not _AT_THE_DOOR.search(said):
        return None
    return SetupFault(_LOGIN.fill(login=url.username, said=said.splitlines()[0].rpartition("FATAL:")[2].strip()), rule="login")


def _refusal(url: URL, error: Error) -> Exception:
    import psycopg

    state, said = error.sqlstate, (error.diag.message_primary or str(error)).strip()
    if refused := login_refused(url, error):
        return refused
    if state == "57014":
        return SetupFault(_TOO_LONG, rule="query")
    if state == "42601" and "multiple commands" in said:
        return SetupFault(_SEVERAL, rule="query")
    if isinstance(error, psycopg.OperationalError) and (state is None or state[:2] in ("08", "53", "57")):
        return unreachable(url, error)
    said += f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    hint = _HINTS.get(state or "", Message("", ""))
    return SetupFault(Message(f"Cơ sở dữ liệu từ chối: {said}.{hint.vi}", f"The database refused: {said}.{hint.en}"), rule="query")
