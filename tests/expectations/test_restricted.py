"""Claims about restricted fields in a contract: what may stand for them, and where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from expectations.contract import Contract, Mask
from expectations.faults import SetupFault
from expectations.odcs import parse_contract

VISIT = """\
apiVersion: v3.2.0
kind: DataContract
id: visit
name: Lượt khám
version: 1.0.0
status: active
schema:
  - name: visit
    properties:
      - {name: code, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
      - name: patient
        logicalType: string
        classification: restricted
        customProperties:
          - {property: pseudonym, value: true}
          - {property: mask, value: {keepFirst: 3, keepLast: 1}}
      - {name: born_on, logicalType: date, classification: restricted}
      - name: commune
        logicalType: string
        customProperties: [{property: codeList, value: communes}]
      - {name: visits, logicalType: integer}
customProperties:
  - {property: sender, value: each-province}
  - {property: periodicity, value: month}
  - {property: fileName, value: "visit_{period:%Y-%m}"}
"""


def read(*replacements: tuple[str, str]) -> Contract:
    text = VISIT
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return parse_contract(text, Path("visit.odcs.yaml"))


def test_what_stands_for_a_restricted_field_is_read() -> None:
    contract = read()
    patient = contract.by_name["patient"]
    assert (patient.pseudonym, patient.mask) == (True, Mask(keep_first=3, keep_last=1))
    assert patient.stand_ins == ("patient_pseudonym", "patient_masked")
    assert contract.by_name["born_on"].stand_ins == ()
    assert [f.name for f in contract.restricted_fields] == ["patient", "born_on"]
    assert contract.commune_field == "commune"


def test_a_restricted_commune_does_not_say_who_sees_a_row() -> None:
    assert read(("- name: commune\n", "- name: commune\n        classification: restricted\n")).commune_field is None


MASK = "{property: mask, value: {keepFirst: 3, keepLast: 1}}"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("        classification: restricted\n        customProperties", "        customProperties", 14, "'pseudonym' is for fields with 'classification: restricted'"),
        ("{name: born_on, logicalType: date, classification: restricted}", "{name: born_on, logicalType: date, classification: restricted, customProperties: [{property: mask, value: {keepLast: 1}}]}", 17, "'mask' is for string"),
        ("logicalType: string\n        classification", "logicalType: integer\n        classification", 15, "'pseudonym' is for string"),
        (MASK, "{property: mask, value: {keepFirst: 0}}", 16, "'keepFirst' or 'keepLast' must be above 0"),
        (MASK, "{property: mask, value: {}}", 16, "'keepFirst' or 'keepLast' must be above 0"),
        (MASK, "{property: mask, value: {keepFirst: -1}}", 16, "a whole number of 0 or more"),
        (MASK, "{property: mask, value: {keepFirst: 1.5}}", 16, "expected a whole number"),
        (MASK, "{property: mask, value: {first: 3}}", 16, "unknown key 'first'"),
        (MASK, "{property: mask, value: 3}", 16, "expected a group of keys"),
        ("value: true", "value: 'yes'", 15, "expected true or false"),
        ("name: visits", "name: patient_masked", 11, "'patient_masked' that stands for 'patient' has the name of a field"),
        ("name: visits", "name: patient_pseudonym", 11, "'patient_pseudonym' that stands for 'patient' has the name of a field"),
        ("  - name: visit\n", "  - name: visit_in_clear\n", 8, "for the system's own views"),
        ("- {property: periodicity", '- {property: layout, value: {unpivot: {names: code, values: visits}}}\n  - {property: periodicity', 24, "restricted fields (patient, born_on) cannot be joined; put those fields into a dataset of their own"),
    ],
)  # fmt: skip
def test_a_mistake_about_a_restricted_field_names_its_line(old: str, new: str, line: int, said: str) -> None:
    with pytest.raises(SetupFault) as caught:
        read((old, new))
    assert caught.value.message.en.startswith(f"visit.odcs.yaml:{line}: ")
    assert said in caught.value.message.en
    assert caught.value.message.vi.startswith(f"visit.odcs.yaml:{line}: ")


def test_the_same_layout_is_right_where_nothing_is_restricted() -> None:
    text = VISIT.replace("classification: restricted\n", "classification: internal\n").replace(", classification: restricted", "")
    text = (
        text.replace("          - {property: pseudonym, value: true}\n", "")
        .replace(f"          - {MASK}\n", "")
        .replace("        customProperties:\n", "")
    )
    text += "  - {property: layout, value: {unpivot: {names: code, values: visits}}}\n"
    assert parse_contract(text, Path("visit.odcs.yaml")).layout.unpivot


def test_a_field_that_only_tells_the_province_has_no_stand_in() -> None:
    place = "{name: visits, logicalType: integer}"
    with pytest.raises(SetupFault, match="'pseudonym' has no effect"):
        read(
            (
                place,
                "{name: province, logicalType: string, classification: restricted, customProperties: [{property: pseudonym, value: true}]}",
            )
        )
