"""What new and changed contracts mean for the tables that exist: shown first, then run as SQL.

Answers for: each step says what it does, and rows that are there get what a new step computes. Refuses: a change that would lose
data, or that would move a field into or out of the table of restricted fields: that takes a rebuild from the archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from expectations.contract import ROW_COLUMNS, Contract
from expectations.faults import Message, SetupFault
from warehouse.tables import (
    ROW_KEY,
    SQL_TYPES,
    Column,
    DatasetTable,
    LiveColumn,
    comments,
    create_root,
    create_table,
    create_view,
    dataset_tables,
    live_columns,
    part_name,
    quoted,
    view_columns,
    view_comments,
    view_name,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WIDER = {
    ("bigint", "double precision"),
    ("date", "timestamp without time zone"),
    ("timestamp without time zone", "timestamp with time zone"),
    *((kind, "text") for kind in SQL_TYPES.values()),
    ("timestamp with time zone", "text"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a plan: what it means, and the SQL that does it. `needs` are the relations that no view may be built on meanwhile."""

    message: Message
    sql: str
    needs: tuple[str, ...] = ()


def plan(connection: Connection, contracts: Iterable[Contract], provinces: Iterable[str]) -> list[Change]:
    """What must change so that every contract has its tables and every province its place in them.

    Raises `SetupFault` when a contract asks for what would lose data (a field that is gone, a narrower type, another storage), for
    what only a rebuild can do, or for what somebody's own view is in the way of.
    """
    provinces = tuple(provinces)
    return [change for contract in contracts for change in _plan_dataset(connection, contract, provinces)]


def _plan_dataset(connection: Connection, contract: Contract, provinces: tuple[str, ...]) -> list[Change]:
    dataset = quoted(contract.dataset)
    live = {schema: live_columns(connection, f"{schema}.{dataset}") for schema in ("national", "personal")}
    _refuse_moves(connection, contract, live["national"], live["personal"])
    changes: list[Change] = []
    for table in dataset_tables(contract):
        if live[table.schema]:
            changes += _alter(connection, contract, table, live[table.schema])
        else:
            changes.append(Change(Message(f"Tạo bảng {_shown(table)}", f"Create the table {_shown(table)}"), create_table(table)))
        changes += _place_provinces(connection, table, provinces)
    for table in dataset_tables(contract):
        changes += _fill_columns(contract, table, live[table.schema])
    if contract.restricted_fields:
        changes = _with_view(connection, contract, changes)
    _refuse_while_in_use(connection, contract, {name for change in changes for name in change.needs})
    return changes


def _shown(table: DatasetTable) -> str:
    """A table in words: its dataset, or where the restricted fields are."""
    return table.dataset if table.schema == "national" else f"{table.schema}.{table.dataset}"


def _place_provinces(connection: Connection, table: DatasetTable, provinces: tuple[str, ...]) -> Iterator[Change]:
    if table.storage == "central":
        return
    roots = _roots(connection, table)
    missing = [p for p in provinces if part_name(table.parts, p) not in roots]
    if missing:
        sql = ";\n".join(create_root(table, p) for p in missing)
        yield Change(Message(f"{_shown(table)}: thêm {len(missing)} tỉnh", f"{_shown(table)}: add {len(missing)} provinces"), sql)


# ---------------------------------------------------------------- a table that exists


def _alter(connection: Connection, contract: Contract, table: DatasetTable, live: Mapping[str, LiveColumn]) -> list[Change]:
    changes = []
    wanted = {c.name: c for c in table.columns}
    _refuse_other_storage(connection, contract, table)
    stand_ins = {name for f in contract.restricted_fields for name in (f.pseudonym_name, f.mask_name)}
    for name in live:
        if name not in wanted:
            if table.schema == "personal" or name not in stand_ins:
                _refuse_loss(contract, name)
            changes.append(_drop(table, name))
    for column in table.columns:
        if column.name not in live:
            changes.append(_add(table, column))
        elif (have := live[column.name].type) != column.type:
            changes.append(_widen(contract, table, column, have))
    if _live_key(connection, table) != table.key:
        _refuse(
            contract,
            "khoá chính khác với bảng đang có; hãy đặt tên tập dữ liệu mới.",
            "the primary key differs from the table's; give the dataset a new name.",
        )
    has_other_comments = any(name in live and live[name].comment != column.comment for name, column in wanted.items())
    if _live_comment(connection, table) != table.comment or has_other_comments or changes:
        said = Message(f"{_shown(table)}: cập nhật chú thích", f"{_shown(table)}: refresh the comments")
        changes.append(Change(said, ";\n".join(comments(table))))
    return changes


def _add(table: DatasetTable, column: Column) -> Change:
    sql = f"ALTER TABLE {table.name} ADD COLUMN {quoted(column.name)} {column.type}"
    vi, en = f"{_shown(table)}: thêm cột {column.name} ({column.type})", f"{_shown(table)}: add the column {column.name} ({column.type})"
    if column.stands_for and column.mask is None:  # only the pipeline has the key
        vi, en = f"{vi}; dòng đã nạp: chạy ndc pseudonyms fill", f"{en}; for rows that are there run: ndc pseudonyms fill"
    return Change(Message(vi, en), sql)


def _drop(table: DatasetTable, name: str) -> Change:
    """Take out what stood for a restricted field; it can be computed again."""
    said = Message(
        f"{_shown(table)}: bỏ cột {name}, hợp đồng không còn cần", f"{_shown(table)}: drop the column {name}, no longer asked for"
    )
    return Change(said, f"ALTER TABLE {table.name} DROP COLUMN {quoted(name)}", needs=(table.name,))


def _widen(contract: Contract, table: DatasetTable, column: Column, have: str) -> Change:
    if (have, column.type) not in _WIDER:
        _refuse(
            contract,
            f"trường «{column.name}»: không thể đổi kiểu {have} thành {column.type} mà không mất dữ liệu.",
            f"the field '{column.name}': {have} cannot become {column.type} without losing data.",
        )
    said = Message(
        f"{_shown(table)}: mở rộng {column.name}: {have} → {column.type}", f"{_shown(table)}: widen {column.name}: {have} → {column.type}"
    )
    return Change(said, f"ALTER TABLE {table.name} ALTER COLUMN {quoted(column.name)} TYPE {column.type}", needs=(table.name,))


def _fill_columns(contract: Contract, table: DatasetTable, live: Mapping[str, LiveColumn]) -> Iterator[Change]:
    """New columns, and masks that changed, of a table that exists: computed from the dataset's other table for the rows that are there."""
    for column in table.columns:
        is_new = bool(live) and column.name not in live
        is_changed = column.mask and column.name in live and _terms(live[column.name].comment) != _terms(column.comment)
        if is_changed or (is_new and (column.mask or (table.schema == "personal" and column.name == contract.commune_field))):
            name = f"{_shown(table)}: {column.name}"
            yield Change(
                Message(f"{name}: tính cho các dòng đã nạp", f"{name}: compute it for the rows that are there"), _fill(table, column)
            )


def _fill(table: DatasetTable, column: Column) -> str:
    """The statements that compute a column from the other table. Only the loader sees rows, and may change this column for once."""
    other = "personal" if table.schema == "national" else "national"
    value = f"o.{quoted(column.stands_for or column.name)}"
    if column.mask:
        first, last = column.mask.keep_first, column.mask.keep_last
        whole = f"left({value}, {first}) || '***' || right({value}, {last})"
        value = f"CASE WHEN char_length({value}) > {first + last} THEN {whole} WHEN {value} IS NOT NULL THEN '***' END"
    on = " AND ".join(f"o.{name} = t.{name}" for name in ROW_KEY)
    name = quoted(column.name)
    return ";\n".join(
        [
            f"GRANT UPDATE ({name}) ON {table.name} TO ndc_loader",
            "SET LOCAL ROLE ndc_loader",
            f"UPDATE {table.name} t SET {name} = {value} FROM {other}.{quoted(table.dataset)} o WHERE {on}",
            "SET LOCAL ROLE ndc_owner",
            f"REVOKE UPDATE ({name}) ON {table.name} FROM ndc_loader",
        ]
    )


def _terms(comment: str | None) -> str:
    """The part of a masked column's comment that says how it is masked."""
    return (comment or "").rpartition(" · ")[2]


def _with_view(connection: Connection, contract: Contract, changes: list[Change]) -> list[Change]:
    """The same changes, with those of the view of both tables: it goes before its columns change, and comes again after."""
    name = view_name(contract)
    live = [(column, found.type) for column, found in live_columns(connection, name).items()]
    make = Change(Message(f"Tạo view {name}", f"Create the view {name}"), create_view(contract))
    if not live:
        return [*changes, make]
    if live != [(c.name, c.type) for c in view_columns(contract)]:
        drop = Change(Message(f"Bỏ view {name} để tạo lại", f"Drop the view {name}, to make it again"), f"DROP VIEW {name}", needs=(name,))
        return [drop, *changes, make]
    refresh = Change(Message(f"{name}: cập nhật chú thích", f"{name}: refresh the comments"), ";\n".join(view_comments(contract)))
    return [*changes, refresh] if changes else []


# ---------------------------------------------------------------- what is refused


def _refuse(contract: Contract, vi: str, en: str) -> NoReturn:
    raise SetupFault(Message(f"{contract.file}: {vi}", f"{contract.file}: {en}"), rule="would-lose-data")


def _refuse_loss(contract: Contract, name: str) -> NoReturn:
    _refuse(
        contract,
        f"trường «{name}» không còn trong hợp đồng nhưng bảng có dữ liệu của nó; hãy giữ trường (required: false).",
        f"the field '{name}' is gone from the contract, but the table holds its data; keep the field (required: false).",
    )


def _refuse_moves(
    connection: Connection, contract: Contract, national: Mapping[str, LiveColumn], personal: Mapping[str, LiveColumn]
) -> None:
    """A field that became restricted, or is so no longer, would have to move with all its rows; so would rows to a first restricted field."""
    restricted = {f.name for f in contract.restricted_fields}
    apart = {f.name for f in contract.stored_fields} - restricted - {contract.commune_field}
    moved = [name for name in national if name in restricted] + [name for name in personal if name in apart]
    if national and restricted and not personal and not moved and _has_rows(connection, contract):
        moved = sorted(restricted)
    if moved:
        names = ", ".join(moved)
        _refuse(
            contract,
            f"trường hạn chế nằm ở bảng riêng, còn {names} thì chưa (hoặc không còn) như vậy; bảng đã có dữ liệu phải dựng lại từ kho lưu "
            "vào một NDC_HOME trống: ndc rebuild --archive <kho lưu cũ>.",
            f"restricted fields lie in a table of their own, and {names} would have to move there or back; a table with data is made again "
            "from the archive into an empty NDC_HOME: ndc rebuild --archive <the old archive>.",
        )
    for name in personal:
        if name not in contract.by_name and name not in ROW_COLUMNS:
            _refuse_loss(contract, name)


def _has_rows(connection: Connection, contract: Contract) -> bool:
    """Whether deliveries of the dataset were loaded; its owner does not see the rows themselves."""
    from sqlalchemy import text

    found = text("SELECT EXISTS (SELECT FROM control.delivery WHERE dataset = :dataset AND lines_loaded > 0)")
    return bool(connection.execute(found, {"dataset": contract.dataset}).scalar())


def _refuse_other_storage(connection: Connection, contract: Contract, table: DatasetTable) -> None:
    from sqlalchemy import text

    kind = connection.execute(text("SELECT relkind FROM pg_class WHERE oid = to_regclass(:name)"), {"name": table.name}).scalar()
    below = connection.execute(
        text("SELECT c.relkind FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(:name) LIMIT 1"),
        {"name": table.name},
    ).scalar()
    live = "central" if kind == "r" else "leaves" if below == "p" else "list" if below == "r" else table.storage
    if live != table.storage:
        _refuse(
            contract,
            f"bảng đang lưu kiểu «{live}», hợp đồng muốn «{table.storage}»; hãy đặt tên tập dữ liệu mới.",
            f"the table is held as '{live}', the contract wants '{table.storage}'; give the dataset a new name.",
        )


def _refuse_while_in_use(connection: Connection, contract: Contract, names: Iterable[str]) -> None:
    """The database does not change a column that a view shows; people may build views of their own on what they read."""
    from sqlalchemy import text

    found = connection.execute(
        text(
            "SELECT DISTINCT format('%I.%I', n.nspname, v.relname) FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid "
            "JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace "
            "WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND v.oid <> d.refobjid "
            "AND d.refobjid IN (SELECT to_regclass(x) FROM unnest(CAST(:names AS text[])) x) AND v.oid IS DISTINCT FROM to_regclass(:own) ORDER BY 1"
        ),
        {"names": list(names), "own": view_name(contract)},
    )
    if views := list(found.scalars()):
        said = ", ".join(views)
        raise SetupFault(
            Message(
                f"{contract.file}: các view sau dựa trên bảng phải đổi: {said}; hãy bỏ chúng, chạy ndc migrate, rồi tạo lại.",
                f"{contract.file}: these views are built on what must change: {said}; drop them, run ndc migrate, and make them again.",
            ),
            rule="in-use",
        )


# ---------------------------------------------------------------- what is there


def _roots(connection: Connection, table: DatasetTable) -> set[str]:
    from sqlalchemy import text

    rows = connection.execute(
        text("SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(:name)"),
        {"name": table.name},
    )
    return {row[0] for row in rows}


def _live_key(connection: Connection, table: DatasetTable) -> tuple[str, ...]:
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT a.attname FROM pg_index x CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum WHERE x.indrelid = to_regclass(:name) AND x.indisunique ORDER BY k.place"
        ),
        {"name": table.name},
    )
    return tuple(row[0] for row in rows)


def _live_comment(connection: Connection, table: DatasetTable) -> str | None:
    from sqlalchemy import text

    found: str | None = connection.execute(text("SELECT obj_description(to_regclass(:name), 'pg_class')"), {"name": table.name}).scalar()
    return found
