"""A dataset's tables, derived from its contract.

Answers for: columns, types, keys, comments in both languages, the way in which a dataset is held (list, leaves, central), and row
security on every table that holds rows. Restricted fields lie in a table of their own, `personal.<dataset>`, because the database
grants columns to a role, not to a row; in `national.<dataset>` pseudonyms and masked texts stand for them. Who sees what of
either is compiled from the delegations (`access/`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from expectations.contract import IN_CLEAR, Contract, Field, Mask
from expectations.faults import Message, SetupFault
from expectations.period import Period

if TYPE_CHECKING:
    from sqlalchemy import Connection

Schema = Literal["national", "personal"]

SQL_TYPES = {
    "string": "text",
    "integer": "bigint",
    "number": "double precision",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "boolean": "boolean",
}
ROW_KEY = ("province_id", "period", "line", "delivery_id")
"""The columns by which a row of `personal` is joined to its row of `national`; the first three are unique."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `stands_for` is the restricted field that it is computed from: by `mask`, or as a pseudonym where that is None."""

    name: str
    type: str
    is_required: bool
    comment: str
    stands_for: str | None = None
    mask: Mask | None = None


_ROW_COLUMNS = (
    Column("province_id", "text", True, "Mã tỉnh theo danh mục của kỳ · The province as it was in the period"),
    Column("period", "date", True, "Kỳ báo cáo, ngày đầu tiên · The period by its first day"),
    Column("delivery_id", "bigint", True, "Đợt gửi · The delivery, see control.delivery"),
    Column("line", "integer", True, "Dòng trong tệp gốc · The line of the file as received"),
)


@dataclass(frozen=True, slots=True)
class DatasetTable:
    """One table of a dataset: `<schema>.<dataset>`, its partitions in the schema `parts`. An empty key means none."""

    dataset: str
    schema: Schema
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    storage: str
    comment: str

    @property
    def name(self) -> str:
        return f"{self.schema}.{quoted(self.dataset)}"

    @property
    def parts(self) -> str:
        """What the names of its partitions begin with; a dataset's name holds no dot."""
        return self.dataset if self.schema == "national" else f"{self.dataset}.{self.schema}"

    @property
    def stand_ins(self) -> tuple[Column, ...]:
        """The columns that are computed from restricted fields."""
        return tuple(c for c in self.columns if c.stands_for)

    @property
    def pseudonyms(self) -> tuple[Column, ...]:
        return tuple(c for c in self.stand_ins if c.mask is None)


def quoted(name: str) -> str:
    """An identifier as SQL; names of datasets and fields are plain words, partitions hold a hyphen."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal, for comments and bounds, where no parameters can stand."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(field: Field) -> str:
    return "timestamp with time zone" if field.timezone else SQL_TYPES[field.type]


# ---------------------------------------------------------------- what a contract asks for


def dataset_tables(contract: Contract) -> tuple[DatasetTable, ...]:
    """The tables of a dataset: the main one, then the one of its restricted fields, if it has any."""
    personal = personal_table(contract)
    return (dataset_table(contract), *((personal,) if personal else ()))


def dataset_table(contract: Contract) -> DatasetTable:
    """The table that holds nothing restricted. Its key is (province_id, period, primary key), unless that names a restricted field."""
    columns = list(_ROW_COLUMNS)
    for f in contract.stored_fields:
        columns += _stand_ins(f) if f.is_restricted else [_column(f)]
    keys = tuple(f.name for f in contract.key_fields if f.holds is None)
    has_key = bool(contract.key_fields) and not any(contract.by_name[name].is_restricted for name in keys)
    return DatasetTable(
        dataset=contract.dataset,
        schema="national",
        columns=tuple(columns),
        key=("province_id", "period", *keys) if has_key else (),
        storage=contract.storage,
        comment=f"{contract.label} · {contract.purpose or contract.dataset} (v{contract.version}, {contract.storage})",
    )


def personal_table(contract: Contract) -> DatasetTable | None:
    """The table of the restricted fields, a row for each row of the main one. It repeats the commune, by which rows are delegated."""
    if not contract.restricted_fields:
        return None
    communes = [contract.by_name[contract.commune_field]] if contract.commune_field else []
    return DatasetTable(
        dataset=contract.dataset,
        schema="personal",
        columns=(*_ROW_COLUMNS, *(_column(f) for f in (*communes, *contract.restricted_fields))),
        key=("province_id", "period", "line"),
        storage=contract.storage,
        comment=f"{contract.label}: các trường hạn chế · Restricted fields of {contract.dataset} (v{contract.version}, {contract.storage})",
    )


def _column(field: Field) -> Column:
    unit = f" ({field.measure.unit})" if field.measure else ""
    return Column(field.name, sql_type(field), field.key is not None, f"{field.label}{unit} · {field.description or field.name}")


def _stand_ins(field: Field) -> list[Column]:
    columns = []
    if field.pseudonym:
        said = f"{field.label}, bí danh: cùng giá trị thì cùng bí danh ở mọi tập · Pseudonym of {field.name}, the same for the same value everywhere"
        columns.append(Column(field.pseudonym_name, "uuid", False, said, field.name))
    if field.mask:
        first, last = field.mask.keep_first, field.mask.keep_last
        said = f"{field.label}, che bớt · {field.name} masked, its first {first} and last {last} characters"
        columns.append(Column(field.mask_name, "text", False, said, field.name, field.mask))
    return columns


def part_name(parts: str, province_id: str, period: Period | None = None) -> str:
    """The name of a partition, at most 62 bytes, so that a stage's mark fits: a longer one ends in a hash of itself.

    `parts` is what the names of a table's partitions begin with.
    """
    name = f"{parts}@{province_id}" + (f"@{period}" if period else "")
    if len(name) > 62:
        name = f"{name[:51]}~{hashlib.sha256(name.encode()).hexdigest()[:10]}"
    return name


def part(table: DatasetTable, province_id: str, period: Period | None = None) -> str:
    return f"parts.{quoted(part_name(table.parts, province_id, period))}"


# ---------------------------------------------------------------- the SQL of new tables


def create_table(table: DatasetTable) -> str:
    """The statements that make a table with its index, row security, comments, and what the loader needs."""
    columns = ", ".join(f"{quoted(c.name)} {c.type}{' NOT NULL' if c.is_required else ''}" for c in table.columns)
    partitioning = "" if table.storage == "central" else " PARTITION BY LIST (province_id)"
    index = (
        f"CREATE UNIQUE INDEX ON {table.name} ({', '.join(map(quoted, table.key))})"
        if table.key
        else f"CREATE INDEX ON {table.name} (province_id, period)"
    )
    pseudonyms = ", ".join(quoted(c.name) for c in table.pseudonyms)
    return ";\n".join(
        [
            f"CREATE TABLE {table.name} ({columns}){partitioning}",
            index,
            *([f"CREATE INDEX ON {table.name} (period)"] if table.storage == "list" else []),
            protect(table.name),
            f"CREATE POLICY loader ON {table.name} TO ndc_loader USING (true) WITH CHECK (true)",
            f"GRANT SELECT, INSERT, DELETE ON {table.name} TO ndc_loader",
            *([f"GRANT UPDATE ({pseudonyms}) ON {table.name} TO ndc_loader"] if pseudonyms else []),
            *comments(table),
        ]
    )


def protect(name: str) -> str:
    """Row security on and forced: partitions inherit neither the flags nor the policies, so each table gets them."""
    return f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;\nALTER TABLE {name} FORCE ROW LEVEL SECURITY"


def comments(table: DatasetTable) -> list[str]:
    return [f"COMMENT ON TABLE {table.name} IS {literal(table.comment)}", *_column_comments(table.name, table.columns)]


def _column_comments(name: str, columns: Iterable[Column]) -> list[str]:
    return [f"COMMENT ON COLUMN {name}.{quoted(c.name)} IS {literal(c.comment)}" for c in columns]


def create_root(table: DatasetTable, province_id: str) -> str:
    """A province's partition, made apart and attached, which locks the parent less than making it in place."""
    name = part(table, province_id)
    below = " PARTITION BY RANGE (period)" if table.storage == "leaves" else ""
    return ";\n".join(
        [
            f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS){below}",
            protect(name),
            f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES IN ({literal(province_id)})",
        ]
    )


# ---------------------------------------------------------------- both tables together


def view_name(contract: Contract) -> str:
    return f"national.{quoted(contract.dataset + IN_CLEAR)}"


def view_columns(contract: Contract) -> list[Column]:
    """The columns of the view with the restricted fields in clear, in the contract's order."""
    columns = list(_ROW_COLUMNS)
    for f in contract.stored_fields:
        columns += [_column(f), *_stand_ins(f)]
    return columns


def create_view(contract: Contract) -> str:
    """The statements that make the view of both tables. It shows nothing that its reader may not see in each of them."""
    restricted = {f.name for f in contract.restricted_fields}
    shown = ", ".join(f"{'p' if c.name in restricted else 'm'}.{quoted(c.name)}" for c in view_columns(contract))
    return ";\n".join(
        [
            f"CREATE VIEW {view_name(contract)} WITH (security_invoker = true) AS SELECT {shown} FROM {_joined(contract, 'JOIN')}",
            *view_comments(contract),
        ]
    )


def view_comments(contract: Contract) -> list[str]:
    said = f"{contract.label}, kèm các trường hạn chế · {contract.dataset} with its restricted fields (v{contract.version})"
    return [f"COMMENT ON VIEW {view_name(contract)} IS {literal(said)}", *_column_comments(view_name(contract), view_columns(contract))]


def rows_of(contract: Contract, names: Iterable[str]) -> str:
    """What to select these fields from, as the loader: the main table, or both where a field is restricted."""
    restricted = ", ".join(f"p.{quoted(name)}" for name in dict.fromkeys(names) if contract.by_name[name].is_restricted)
    return f"(SELECT m.*, {restricted} FROM {_joined(contract, 'JOIN')})" if restricted else dataset_table(contract).name


def all_rows_of(contract: Contract, names: Iterable[str]) -> str:
    """A query of these columns of every row in either table, for comparing them: what one of them has alone lacks its province or line."""
    restricted = {f.name for f in contract.restricted_fields}
    if not restricted:
        return f"SELECT {', '.join(map(quoted, names))} FROM {dataset_table(contract).name}"
    own = {"delivery_id": "coalesce(m.delivery_id, p.delivery_id)", "line": "p.line"}
    found = ((name, own.get(name, f"{'p' if name in restricted else 'm'}.{quoted(name)}")) for name in names)
    shown = ", ".join(f"{value} AS {quoted(name)}" for name, value in found)
    return f"SELECT {shown} FROM {_joined(contract, 'FULL JOIN')}"


def _joined(contract: Contract, how: str) -> str:
    on = " AND ".join(f"p.{name} = m.{name}" for name in ROW_KEY)
    dataset = quoted(contract.dataset)
    return f"national.{dataset} m {how} personal.{dataset} p ON {on}"


# ---------------------------------------------------------------- what is there


@dataclass(frozen=True, slots=True)
class LiveColumn:
    type: str
    comment: str | None


def live_columns(connection: Connection, name: str) -> dict[str, LiveColumn]:
    """The columns of a table or view that exists, in their order; none when it does not."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ),
        {"name": name},
    )
    return {column: LiveColumn(kind, comment) for column, kind, comment in rows}


def check_types(connection: Connection, table: DatasetTable) -> None:
    """Raise `SetupFault` unless the live table has each of the contract's columns, of its type.

    Binary COPY reinterprets types of equal width silently, so nothing is loaded before this gate.
    """
    live = live_columns(connection, table.name)
    if any(c.name not in live or live[c.name].type != c.type for c in table.columns):
        raise _not_migrated(table)


def check_fields(tables: Iterable[DatasetTable], contract: Contract) -> None:
    """Raise `SetupFault` unless the tables have a column of the same type for each field of a contract, which may be an older one."""
    tables = tuple(tables)
    held = {c.name: c.type for table in tables for c in table.columns}
    if any(held.get(f.name) != sql_type(f) for f in contract.stored_fields):
        raise _not_migrated(tables[0])


def _not_migrated(table: DatasetTable) -> SetupFault:
    return SetupFault(
        Message(
            f"Bảng {table.name} không khớp hợp đồng; hãy chạy: ndc migrate",
            f"The table {table.name} does not match its contract; run: ndc migrate",
        ),
        rule="not-migrated",
    )
