"""The store step: one Parquet file for each partition of the lake, replaced as a whole.

Answers for: the plain Hive layout, which pandas, DuckDB, Spark and Trino read as it is, and metadata that name the delivery, the
contract and the source. Refuses: appending.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etl.judge import row_schema
from etl.store import Store
from expectations.contract import Contract
from expectations.unique import repeats
from warehouse.ledger import Delivery

METADATA = b"ndc"


def incoming_name(delivery: Delivery) -> str:
    """Where a file waits until its rows are in the warehouse; readers of the lake pass over names with an underscore."""
    return f"_incoming/{delivery.delivery_id}.parquet"


def lake_name(delivery: Delivery) -> str:
    """The partition's file: `<dataset>/province_id=…/period=…/part-0.parquet`, without a province for central bodies."""
    province = f"province_id={delivery.province_id}/" if delivery.province_id else ""
    return f"{delivery.dataset}/{province}period={delivery.period}/part-0.parquet"


class LakeFile:
    """A partition's file while it is written. The columns that the path tells are not repeated inside."""

    def __init__(self, lake: Store, delivery: Delivery, contract: Contract) -> None:
        said = {
            "delivery_id": delivery.delivery_id,
            "dataset": delivery.dataset,
            "period": str(delivery.period),
            "province_id": delivery.province_id,
            "contract_version": contract.version,
            "contract_sha256": contract.sha256,
            "source_sha256": delivery.sha256,
        }
        in_path = {"period", *(("province_id",) if delivery.province_id else ())}
        fields = [f for f in row_schema(contract) if f.name not in in_path]
        self._schema = pa.schema(fields, metadata={METADATA: json.dumps(said).encode()})
        self._stream = lake.open_output(incoming_name(delivery))
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            rows = rows.select(self._schema.names).replace_schema_metadata(self._schema.metadata)
            self._writer = self._writer or self._begin(rows)
            self._writer.write_batch(rows)

    def close(self) -> None:
        (self._writer or self._begin(self._schema.empty_table())).close()
        self._stream.close()

    def _begin(self, rows: pa.RecordBatch | pa.Table) -> pq.ParquetWriter:
        """Dictionaries only where values repeat: elsewhere they cost time and room. Least and greatest values only of what is
        no text: of texts they help no reader, and a name or an identity number would stand in the file's foot."""
        return pq.ParquetWriter(
            self._stream,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in self._schema.names if repeats(rows.column(name))],
            write_statistics=[field.name for field in self._schema if not pa.types.is_string(field.type)],
        )


def read_metadata(lake: Store, name: str) -> dict[str, Any] | None:
    """What a partition's file says about itself, or None when there is no such file."""
    if not lake.exists(name):
        return None
    with lake.open_input(name) as file:
        metadata = pq.read_schema(file).metadata or {}
    said: dict[str, Any] = json.loads(metadata.get(METADATA, b"{}"))
    return said


def read_rows(lake: Store, name: str, delivery: Delivery, schema: pa.Schema, batch_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """The rows of a delivery's file in batches of some columns: those that its path tells too, and no others are read.

    A field that came into the contract later is empty.
    """
    with lake.open_input(name) as opened:
        file = pq.ParquetFile(opened)
        inside = [column for column in schema.names if column in file.schema_arrow.names]
        for batch in file.iter_batches(batch_rows, columns=inside):
            yield _with_path_columns(batch, schema, delivery)


def _with_path_columns(batch: pa.RecordBatch, schema: pa.Schema, delivery: Delivery) -> pa.RecordBatch:
    said = {"province_id": delivery.province_id, "period": delivery.period}
    columns = []
    for field in schema:
        if field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        elif field.name in said:
            columns.append(pa.array([said[field.name]], field.type).take(pa.array(np.zeros(batch.num_rows, np.int8))))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
