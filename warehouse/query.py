"""Queries of analysts, with their own login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expectations.faults import Message, SetupFault
from warehouse.engine import unreachable

if TYPE_CHECKING:
    from sqlalchemy import URL


def query_rows(url: URL, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of one query, read only. Raises `SetupFault` with the database's own words when it is refused."""
    import psycopg

    try:
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False), connect_timeout=10) as connection:
            connection.read_only = True
            cursor = connection.execute(sql.encode())
            if cursor.description is None:
                return [], []
            return [column.name for column in cursor.description], cursor.fetchall()
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from error
    except psycopg.Error as error:
        said = (error.diag.message_primary or str(error)).strip()
        hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
        vi, en = f"Cơ sở dữ liệu từ chối: {said}{hint}", f"The database refused: {said}{hint}"
        if error.sqlstate == "42501":
            vi += ". Cột hạn chế (dữ liệu cá nhân) không được cấp: hãy nêu tên các cột cần, xem: ndc contracts show <tập dữ liệu>"
            en += ". Restricted columns (personal data) are not granted: name the columns you need, see: ndc contracts show <dataset>"
        raise SetupFault(Message(vi, en), rule="query") from error
