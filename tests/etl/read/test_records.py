"""JSON in its shapes: keys are headings, values keep their types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expectations.faults import SenderFault
from tests.etl.read.reading import PEOPLE, PROVINCE, broken, cells, contract_of, lines, number, read, text

RECORDS: list[dict[str, Any]] = [{"Tỉnh": "a", "Dân số": 1.5}, {"Tỉnh": "b", "thêm": True}, {"Dân số": None, "Tỉnh": "c"}]


def write(folder: Path, content: str | bytes) -> Path:
    (folder / "a.json").write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "a.json"


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects_is_a_table(tmp_path: Path, indent: int | None) -> None:
    table, batches = read(write(tmp_path, json.dumps(RECORDS, ensure_ascii=False, indent=indent)), contract_of(tmp_path), batch_rows=2)
    assert (cells(batches, "province"), cells(batches, "people")) == (["a", "b", "c"], [1.5, None, None])
    assert (lines(batches), table.header.unknown) == ([1, 2, 3], ("thêm",))


def test_a_record_a_line_keeps_its_line_and_a_bad_line_is_broken(tmp_path: Path) -> None:
    content = "\n".join([json.dumps(RECORDS[0]), "", "{not json}", "[", json.dumps(RECORDS[1]), "12"]) + "\n"
    table, batches = read(write(tmp_path, content), contract_of(tmp_path))
    assert (lines(batches), broken(batches), table.is_cut) == ([1, 5], [3, 4, 6], False)


def test_a_file_of_lines_cut_off_is_told(tmp_path: Path) -> None:
    table, batches = read(write(tmp_path, json.dumps(RECORDS[0]) + '\n{"Tỉnh": "b'), contract_of(tmp_path))
    assert (lines(batches), broken(batches), table.is_cut) == ([1], [2], True)


def test_an_array_cut_off_is_told(tmp_path: Path) -> None:
    table, batches = read(write(tmp_path, json.dumps(RECORDS)[:-20]), contract_of(tmp_path))
    assert (lines(batches), broken(batches), table.is_cut) == ([1, 2], [3], True)


def test_a_mistake_in_the_middle_returns_the_file_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SenderFault, match="record 2") as fault:
        read(write(tmp_path, '[{"Tỉnh": "a"}, {"Tỉnh": NaN}]'), contract_of(tmp_path))
    assert fault.value.rule == "damaged"


def test_nested_keys_are_paths_of_headings(tmp_path: Path) -> None:
    content = json.dumps([{"place": {"Tỉnh": "a"}, "dân số": {"nam": 1, "nữ": 2}, "list": [1, 2]}])
    table, batches = read(write(tmp_path, content), contract_of(tmp_path, PROVINCE, number("women", "Dân số / Nữ"), text("list")))
    assert (cells(batches, "women"), cells(batches, "list")) == ([2.0], ["[1, 2]"])
    assert (table.header.found["province"], table.header.unknown) == ("place / Tỉnh", ("dân số / nam",))


@pytest.mark.parametrize(
    ("content", "records"),
    [
        ({"meta": {"n": 1}, "result": {"items": RECORDS}}, "result.items"),
        ([{"x": 1, "communes": RECORDS[:1]}, {"x": 2, "communes": RECORDS[1:]}], "item.communes"),
        ([{"page": 1}, RECORDS], "item.item"),
        ({"data": {"01": RECORDS[0], "02": RECORDS[1], "03": RECORDS[2]}}, "data.*"),
        ({"01": RECORDS[0], "02": RECORDS[1], "03": RECORDS[2]}, "*"),
    ],
)
def test_the_contract_says_where_in_the_document_the_records_are(tmp_path: Path, content: Any, records: str) -> None:
    _, batches = read(write(tmp_path, json.dumps(content)), contract_of(tmp_path, PROVINCE, PEOPLE, records=records))
    assert (cells(batches, "province"), lines(batches)) == (["a", "b", "c"], [1, 2, 3])


def test_the_key_of_an_object_among_objects_is_a_column(tmp_path: Path) -> None:
    _, batches = read(write(tmp_path, json.dumps({"01": {"Tỉnh": "a"}})), contract_of(tmp_path, PROVINCE, text("code", "key"), records="*"))
    assert cells(batches, "code") == ["01"]


def test_whole_numbers_beyond_a_double_stay_exact(tmp_path: Path) -> None:
    _, batches = read(
        write(tmp_path, '[{"Tỉnh": "a", "id": 12345678901234567890}, {"Tỉnh": "b", "id": 7}]'), contract_of(tmp_path, PROVINCE, text("id"))
    )
    assert cells(batches, "id") == ["12345678901234567890", 7.0]


def test_json_without_a_known_key_has_no_header(tmp_path: Path) -> None:
    with pytest.raises(SenderFault) as fault:
        read(write(tmp_path, '{"a": {"b": 1}}'), contract_of(tmp_path))
    assert fault.value.rule == "header"


def test_json_in_another_encoding_is_read(tmp_path: Path) -> None:
    table, batches = read(write(tmp_path, json.dumps(RECORDS, ensure_ascii=False).encode("utf-16")), contract_of(tmp_path))
    assert (cells(batches, "province"), table.encoding) == (["a", "b", "c"], "utf-16")
