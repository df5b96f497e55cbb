"""A dataset's table, derived from its contract.

Answers for: columns, types, keys, comments in both languages, the way in which a dataset is held (list, leaves, central), row
security on every table that holds rows, and a plan of what a changed contract means for a table that exists. Refuses: a
change that would lose data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expectations.contract import Contract, Field
from expectations.faults import Message, SetupFault
from expectations.period import Period

if TYPE_CHECKING:
    from sqlalchemy import Connection

SQL_TYPES = {
    "string": "text",
    "integer": "bigint",
    "number": "double precision",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "boolean": "boolean",
}
_WIDER = {
    ("bigint", "double precision"),
    ("date", "timestamp without time zone"),
    ("timestamp without time zone", "timestamp with time zone"),
    *((kind, "text") for kind in SQL_TYPES.values()),
    ("timestamp with time zone", "text"),
}
_ROW_COLUMNS = (
    ("province_id", "text", "Mã tỉnh theo danh mục của kỳ · The province as it was in the period"),
    ("period", "date", "Kỳ báo cáo, ngày đầu tiên · The period by its first day"),
    ("delivery_id", "bigint", "Đợt gửi · The delivery, see control.delivery"),
    ("line", "integer", "Dòng trong tệp gốc · The line of the file as received"),
)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    is_required: bool
    comment: str


@dataclass(frozen=True, slots=True)
class DatasetTable:
    """The table of one dataset: `national.<dataset>`, its partitions in the schema `parts`."""

    dataset: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    storage: str
    comment: str
    restricted: frozenset[str]

    @property
    def name(self) -> str:
        return f"national.{quoted(self.dataset)}"

    @property
    def readable(self) -> tuple[str, ...]:
        """The columns that hold nothing restricted."""
        return tuple(c.name for c in self.columns if c.name not in self.restricted)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a plan: what it means, and the SQL that does it."""

    message: Message
    sql: str


def quoted(name: str) -> str:
    """An identifier as SQL; names of datasets and fields are plain words, partitions hold a hyphen."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal, for comments and bounds, where no parameters can stand."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(field: Field) -> str:
    return "timestamp with time zone" if field.timezone else SQL_TYPES[field.type]


def dataset_table(contract: Contract) -> DatasetTable:
    """The table that a contract asks for. Its key is (province_id, period, primary key); none means none."""
    keys = tuple(f.name for f in contract.key_fields if f.holds is None)
    has_key = bool(contract.key_fields)
    columns = [Column(name, kind, True, comment) for name, kind, comment in _ROW_COLUMNS]
    for f in contract.stored_fields:
        unit = f" ({f.measure.unit})" if f.measure else ""
        described = f" · {f.description}" if f.description else f" · {f.name}"
        columns.append(Column(f.name, sql_type(f), f.key is not None, f"{f.label}{unit}{described}"))
    return DatasetTable(
        dataset=contract.dataset,
        columns=tuple(columns),
        key=("province_id", "period", *keys) if has_key else (),
        storage=contract.storage,
        comment=f"{contract.label} · {contract.purpose or contract.dataset} (v{contract.version}, {contract.storage})",
        restricted=frozenset(f.name for f in contract.stored_fields if f.is_restricted),
    )


def part_name(dataset: str, province_id: str, period: Period | None = None) -> str:
    """The name of a partition, at most 63 bytes: a longer one ends in a hash of itself."""
    name = f"{dataset}@{province_id}" + (f"@{period}" if period else "")
    if len(name) > 63:
        name = f"{name[:52]}~{hashlib.sha256(name.encode()).hexdigest()[:10]}"
    return name


def part(dataset: str, province_id: str, period: Period | None = None) -> str:
    return f"parts.{quoted(part_name(dataset, province_id, period))}"


# ---------------------------------------------------------------- the SQL of a new table


def create_table(table: DatasetTable) -> str:
    """The statements that make a table with its index, row security, policies, grants and comments."""
    columns = ", ".join(f"{quoted(c.name)} {c.type}{' NOT NULL' if c.is_required else ''}" for c in table.columns)
    partitioning = "" if table.storage == "central" else " PARTITION BY LIST (province_id)"
    index = (
        f"CREATE UNIQUE INDEX ON {table.name} ({', '.join(map(quoted, table.key))})"
        if table.key
        else f"CREATE INDEX ON {table.name} (province_id, period)"
    )
    return ";\n".join(
        [
            f"CREATE TABLE {table.name} ({columns}){partitioning}",
            index,
            *([f"CREATE INDEX ON {table.name} (period)"] if table.storage == "list" else []),
            protect(table.name),
            f"CREATE POLICY loader ON {table.name} TO ndc_loader USING (true) WITH CHECK (true)",
            f"CREATE POLICY centre ON {table.name} FOR SELECT TO ndc_centre USING (true)",
            f"GRANT SELECT, INSERT, DELETE ON {table.name} TO ndc_loader",
            grant_centre(table),
            *comments(table),
        ]
    )


def protect(name: str) -> str:
    """Row security on and forced: partitions inherit neither the flags nor the policies, so each table gets them."""
    return f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;\nALTER TABLE {name} FORCE ROW LEVEL SECURITY"


def grant_centre(table: DatasetTable) -> str:
    """The centre reads every row, without the restricted columns."""
    columns = f" ({', '.join(map(quoted, table.readable))})" if table.restricted else ""
    return f"REVOKE SELECT ON {table.name} FROM ndc_centre;\nGRANT SELECT{columns} ON {table.name} TO ndc_centre"


def comments(table: DatasetTable) -> list[str]:
    said = [f"COMMENT ON TABLE {table.name} IS {literal(table.comment)}"]
    return said + [f"COMMENT ON COLUMN {table.name}.{quoted(c.name)} IS {literal(c.comment)}" for c in table.columns]


def create_root(table: DatasetTable, province_id: str) -> str:
    """A province's partition, made apart and attached, which locks the parent less than making it in place."""
    name = part(table.dataset, province_id)
    below = " PARTITION BY RANGE (period)" if table.storage == "leaves" else ""
    return ";\n".join(
        [
            f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS){below}",
            protect(name),
            f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES IN ({literal(province_id)})",
        ]
    )


# ---------------------------------------------------------------- plan


def plan(connection: Connection, contracts: Iterable[Contract], provinces: Iterable[str]) -> list[Change]:
    """What must change so that every contract has its table and every province its place in it.

    Raises `SetupFault` when a contract asks for what would lose data: a field that is gone, a narrower type, another storage.
    """
    changes: list[Change] = []
    provinces = tuple(provinces)
    for contract in contracts:
        table = dataset_table(contract)
        live = _live_columns(connection, table.dataset)
        if not live:
            changes.append(Change(Message(f"Tạo bảng {table.dataset}", f"Create the table {table.dataset}"), create_table(table)))
            roots: set[str] = set()
        else:
            changes += _alter(connection, contract, table, live)
            roots = _roots(connection, table.dataset)
        if table.storage != "central":
            missing = [p for p in provinces if part_name(table.dataset, p) not in roots]
            if missing:
                sql = ";\n".join(create_root(table, p) for p in missing)
                changes.append(
                    Change(Message(f"{table.dataset}: thêm {len(missing)} tỉnh", f"{table.dataset}: add {len(missing)} provinces"), sql)
                )
    return changes


def _alter(connection: Connection, contract: Contract, table: DatasetTable, live: dict[str, tuple[str, bool]]) -> list[Change]:
    changes = []
    wanted = {c.name: c for c in table.columns}
    _refuse_other_storage(connection, contract, table)
    for name in live:
        if name not in wanted:
            _refuse(
                contract,
                f"trường «{name}» không còn trong hợp đồng nhưng bảng có dữ liệu của nó; hãy giữ trường (required: false).",
                f"the field '{name}' is gone from the contract, but the table holds its data; keep the field (required: false).",
            )
    for column in table.columns:
        if column.name not in live:
            said = Message(
                f"{table.dataset}: thêm cột {column.name} ({column.type})", f"{table.dataset}: add the column {column.name} ({column.type})"
            )
            changes.append(Change(said, f"ALTER TABLE {table.name} ADD COLUMN {quoted(column.name)} {column.type};\n{grant_centre(table)}"))
        elif (have := live[column.name][0]) != column.type:
            if (have, column.type) not in _WIDER:
                _refuse(
                    contract,
                    f"trường «{column.name}»: không thể đổi kiểu {have} thành {column.type} mà không mất dữ liệu.",
                    f"the field '{column.name}': {have} cannot become {column.type} without losing data.",
                )
            said = Message(
                f"{table.dataset}: mở rộng {column.name}: {have} → {column.type}",
                f"{table.dataset}: widen {column.name}: {have} → {column.type}",
            )
            changes.append(Change(said, f"ALTER TABLE {table.name} ALTER COLUMN {quoted(column.name)} TYPE {column.type}"))
    if _live_key(connection, table.dataset) != table.key:
        _refuse(
            contract,
            "khoá chính khác với bảng đang có; hãy đặt tên tập dữ liệu mới.",
            "the primary key differs from the table's; give the dataset a new name.",
        )
    if _live_comment(connection, table.dataset) != table.comment or changes:
        said = Message(f"{table.dataset}: cập nhật chú thích và quyền", f"{table.dataset}: refresh comments and grants")
        changes.append(Change(said, ";\n".join([grant_centre(table), *comments(table)])))
    return changes


def _refuse(contract: Contract, vi: str, en: str) -> None:
    raise SetupFault(Message(f"{contract.file}: {vi}", f"{contract.file}: {en}"), rule="would-lose-data")


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


# ---------------------------------------------------------------- what is there


def _live_columns(connection: Connection, dataset: str) -> dict[str, tuple[str, bool]]:
    """The columns of a table that exists: type and whether NOT NULL, in their order."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
            "WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ),
        {"name": f"national.{quoted(dataset)}"},
    )
    return {name: (kind, required) for name, kind, required in rows}


def check_types(connection: Connection, table: DatasetTable) -> None:
    """Raise `SetupFault` unless the live table has each of the contract's columns, of its type.

    Binary COPY reinterprets types of equal width silently, so nothing is loaded before this gate.
    """
    live = _live_columns(connection, table.dataset)
    if any(live.get(c.name, ("", False))[0] != c.type for c in table.columns):
        raise SetupFault(
            Message(
                f"Bảng {table.name} không khớp hợp đồng; hãy chạy: ndc migrate",
                f"The table {table.name} does not match its contract; run: ndc migrate",
            ),
            rule="not-migrated",
        )


def _roots(connection: Connection, dataset: str) -> set[str]:
    from sqlalchemy import text

    rows = connection.execute(
        text("SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(:name)"),
        {"name": f"national.{quoted(dataset)}"},
    )
    return {row[0] for row in rows}


def _live_key(connection: Connection, dataset: str) -> tuple[str, ...]:
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT a.attname FROM pg_index x CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum WHERE x.indrelid = to_regclass(:name) AND x.indisunique ORDER BY k.place"
        ),
        {"name": f"national.{quoted(dataset)}"},
    )
    return tuple(row[0] for row in rows)


def _live_comment(connection: Connection, dataset: str) -> str | None:
    from sqlalchemy import text

    found: str | None = connection.execute(
        text("SELECT obj_description(to_regclass(:name), 'pg_class')"), {"name": f"national.{quoted(dataset)}"}
    ).scalar()
    return found
