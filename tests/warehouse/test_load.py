"""A partition shows its old rows or its new rows, never a mixture and never nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pytest
from sqlalchemy import Connection, text

from etl.judge import row_schema
from etl.site import Site
from expectations.contract import Contract
from expectations.period import Period
from tests.etl.conftest import CONTRACTS
from tests.etl.snapshots import query
from warehouse.load import Partition, PartitionRefused, Stage, lock_partition
from warehouse.load import swap as swap_in
from warehouse.pseudonym_key import Key
from warehouse.pseudonyms import with_stand_ins
from warehouse.tables import dataset_tables

MAY = Period(date(2025, 5, 1), "month")


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


def rows(
    contract: Contract, visits: int, count: int, *, province: str = "ha-noi", period: date = MAY.start, delivery: int = 1
) -> pa.RecordBatch:
    columns = {
        "province_id": [province] * count,
        "period": [period] * count,
        "delivery_id": [delivery] * count,
        "line": list(range(2, count + 2)),
        "clinic_code": [f"{i:04d}" for i in range(count)],
        "permit_code": [f"{i:04d}" for i in range(count)],
        "opened_on": [None] * count,
        "visits": [visits] * count,
        "rate_pct": [1.5] * count,
        "doctor": ["X"] * count,
    }
    schema = row_schema(contract)
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def swap(site: Site, name: str, batch: pa.RecordBatch, *, province: str = "ha-noi") -> None:
    with site.warehouse.transaction() as connection:
        partition = Partition(name, province, MAY)
        lock_partition(connection, partition)
        swap_in(connection, staged(connection, site.contracts[name], partition, batch))


def staged(connection: Connection, contract: Contract, partition: Partition, batch: pa.RecordBatch) -> list[Stage]:
    """The rows in a stage for each of the dataset's tables."""
    stages = []
    for table in dataset_tables(contract):
        stage = Stage(connection, table, partition)
        stage.write(with_stand_ins(batch, table, Key(b"k" * 32)))
        stage.finish()
        stages.append(stage)
    return stages


@pytest.mark.parametrize("name", ["clinic", "permit"])
def test_readers_never_see_a_mixture_or_nothing(site: Site, name: str) -> None:
    contract = site.contracts[name]
    swap(site, name, rows(contract, 1, 100))
    seen: set[tuple[int, int, int]] = set()
    is_over = threading.Event()

    def read() -> None:
        with site.warehouse.engine.connect() as connection:
            connection.execute(text("SET ROLE ndc_loader"))
            connection.commit()
            while not is_over.is_set():
                found = connection.execute(
                    text(f"SELECT count(*), min(visits), max(visits) FROM national.{name} WHERE province_id = 'ha-noi'")
                ).one()
                connection.commit()
                seen.add(tuple(found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for visits in range(2, 14):
        swap(site, name, rows(contract, visits, 100))
    is_over.set()
    for reader in readers:
        reader.join()
    assert {(count, low == high) for count, low, high in seen} == {(100, True)}
    assert len(seen) > 1


@pytest.mark.parametrize("name", ["clinic", "permit"])
@pytest.mark.parametrize("wrong", [{"province": "lao-cai"}, {"period": date(2025, 6, 1)}])
def test_the_database_refuses_rows_of_another_province_or_period(site: Site, name: str, wrong: dict[str, object]) -> None:
    with pytest.raises(PartitionRefused, match="bounds"):
        swap(site, name, rows(site.contracts[name], 1, 3, **wrong))  # type: ignore[arg-type]
    assert query(site, f"SELECT FROM national.{name}") == []


@pytest.mark.parametrize("name", ["clinic", "permit"])
def test_the_database_refuses_a_key_twice_and_says_no_value(site: Site, name: str) -> None:
    batch = rows(site.contracts[name], 1, 3)
    with pytest.raises(PartitionRefused) as caught:
        swap(site, name, pa.RecordBatch.from_struct_array(pa.concat_arrays([batch.to_struct_array()] * 2)))
    assert "0001" not in str(caught.value)


@pytest.mark.parametrize("name", ["clinic", "permit"])
def test_a_load_that_fails_leaves_the_old_rows(site: Site, name: str) -> None:
    contract = site.contracts[name]
    swap(site, name, rows(contract, 1, 5))
    with pytest.raises(RuntimeError), site.warehouse.transaction() as connection:
        swap_in(connection, staged(connection, contract, Partition(name, "ha-noi", MAY), rows(contract, 2, 5)))
        raise RuntimeError
    assert query(site, f"SELECT DISTINCT visits FROM national.{name}") == [{"visits": 1}]


def test_attaching_a_leaf_does_not_scan_it(site: Site) -> None:
    """The server says that the bounds follow from the CHECK; were they not to, it would read the whole leaf under a lock."""
    said: list[str] = []
    contract = site.contracts["permit"]
    with site.warehouse.transaction() as connection:
        connection.connection.dbapi_connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))  # type: ignore[union-attr]
        stages = staged(connection, contract, Partition("permit", "ha-noi", MAY), rows(contract, 1, 5))
        connection.execute(text("SET LOCAL client_min_messages = debug1"))
        swap_in(connection, stages)
    assert sum("is implied by existing constraints" in message for message in said) >= len(stages)


def test_a_long_reader_delays_the_swap_and_nobody_else(site: Site) -> None:
    contract = site.contracts["permit"]
    swap(site, "permit", rows(contract, 1, 5))
    with site.warehouse.engine.connect() as reader:
        reader.execute(text("SET ROLE ndc_loader"))
        reader.execute(text("SELECT count(*) FROM national.permit WHERE province_id = 'ha-noi'"))
        worker = threading.Thread(target=swap, args=(site, "permit", rows(contract, 2, 5)))
        worker.start()
        worker.join(1.5)
        assert worker.is_alive()
        swap(site, "permit", rows(contract, 3, 5, province="lao-cai"), province="lao-cai")
        reader.commit()
        worker.join(30)
    found = query(site, "SELECT province_id, min(visits) AS visits FROM national.permit GROUP BY 1 ORDER BY 1")
    assert [tuple(r.values()) for r in found] == [("ha-noi", 2), ("lao-cai", 3)]


def test_two_months_of_a_province_with_a_long_name_lie_side_by_side(site: Site) -> None:
    """Names of indexes that PostgreSQL makes are cut at 63 letters, and the second month's would be the first one's."""
    province = "ba-ria-vung-tau"
    for month in (4, 5):
        period = Period(date(2025, month, 1), "month")
        with site.warehouse.transaction() as connection:
            partition = Partition("permit", province, period)
            lock_partition(connection, partition)
            batch = rows(site.contracts["permit"], 5, 2, province=province, period=period.start)
            swap_in(connection, staged(connection, site.contracts["permit"], partition, batch))
    assert query(site, "SELECT count(DISTINCT period) AS months, count(*) AS rows FROM national.permit") == [{"months": 2, "rows": 4}]
