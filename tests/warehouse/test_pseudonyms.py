"""The same value has the same pseudonym everywhere, under one key at a time, and the key shows nowhere."""

from __future__ import annotations

import hmac
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from etl.cli import pseudonyms as commands
from etl.settings import read_settings
from etl.site import Site
from expectations.contract import Mask
from expectations.faults import SetupFault
from expectations.odcs import parse_contract
from tests.conftest import PSEUDONYM_KEY
from tests.etl.conftest import CONTRACTS, HEADER, lines, put, run_all
from tests.etl.snapshots import query
from warehouse.migrate import migrate
from warehouse.pseudonym_key import Key, KeyPlace
from warehouse.pseudonyms import fill, mask, rotate

SECRET = b"k" * 32


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(contracts=CONTRACTS)


@pytest.fixture
def with_file(site: Site) -> Site:
    """An installation whose key is in its file."""
    return opened_with(site, None)


def opened_with(site: Site, key: str | None) -> Site:
    """The same installation with another key in the environment."""
    other = Site(replace(site.settings, pseudonym_key=key))
    other.__dict__.update(logins=site.logins, warehouse=site.warehouse)
    return other


def tables(site: Site) -> list[Any]:
    return [table for own in site.tables.values() for table in own]


def expected(secret: bytes, value: str) -> UUID:
    return UUID(bytes=hmac.digest(secret, value.encode(), "sha256")[:16])


def wrong_rows(site: Site, secret: bytes) -> list[Any]:
    """The rows whose pseudonym is not that of their value."""
    found = []
    for dataset in ("clinic", "permit"):
        joined = f"SELECT doctor, doctor_pseudonym FROM national.{dataset} JOIN personal.{dataset} USING (province_id, period, line)"
        found += [row for row in query(site, joined) if row["doctor_pseudonym"] != (row["doctor"] and expected(secret, row["doctor"]))]
    return found


# ---------------------------------------------------------------- values


@given(st.binary(min_size=1, max_size=200), st.lists(st.none() | st.text(), max_size=5))
def test_a_pseudonym_is_the_beginning_of_the_values_hmac(secret: bytes, values: list[str | None]) -> None:
    made = Key(secret).pseudonyms(pa.array(values, pa.string())).to_pylist()
    assert made == [None if v is None else hmac.digest(secret, v.encode(), "sha256")[:16] for v in values]


@pytest.mark.parametrize(
    ("how", "value", "shown"),
    [
        (Mask(3, 0), "079203001234", "079***"),
        (Mask(0, 3), "0501234567", "***567"),
        (Mask(3, 2), "079203001234", "079***34"),
        (Mask(3, 2), "abcdef", "abc***ef"),
        (Mask(3, 2), "abcde", "***"),
        (Mask(3, 0), "abc", "***"),
        (Mask(3, 0), "", "***"),
        (Mask(2, 2), "Đặng Thị Ỷ", "Đặ*** Ỷ"),
        (Mask(3, 0), None, None),
    ],
)
def test_a_mask_keeps_what_the_contract_says_and_never_the_whole(how: Mask, value: str | None, shown: str | None) -> None:
    assert mask(pa.array([value], pa.string()), how).to_pylist() == [shown]


def test_the_database_masks_as_the_loader_does(site: Site) -> None:
    """A mask that a contract changes is computed by the database for the rows that are there."""
    values = ["", "a", "ab", "abc", "Đặng Thị Ỷ", "Bác sĩ 12", "𝄞𝄞𝄞"]
    put(site, "ha-noi/clinic/clinic_2025-05.csv", HEADER + "".join(f"{i:04d},,1,1,{v}\n" for i, v in enumerate(values)))
    run_all(site)
    before = query(site, "SELECT doctor FROM personal.clinic ORDER BY line")
    contracts = dict(site.contracts)
    old = contracts["clinic"]
    contracts["clinic"] = parse_contract(old.text.replace("{keepLast: 2}", "{keepFirst: 1, keepLast: 1}"), old.file)
    migrate(site.warehouse, contracts, site.registry, site.access)
    shown = [row["doctor_masked"] for row in query(site, "SELECT doctor_masked FROM national.clinic ORDER BY line")]
    assert shown == mask(pa.array([row["doctor"] for row in before], pa.string()), Mask(1, 1)).to_pylist()
    assert "Đ***Ỷ" in shown


def test_people_join_datasets_by_pseudonyms(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3) + "1999,01/02/2020,5,10,\n")
    put(site, "lao-cai/permit/permit_2025-06.csv", lines(2))
    run_all(site)
    assert wrong_rows(site, PSEUDONYM_KEY.encode()) == []
    joined = "SELECT c.clinic_code FROM national.clinic c JOIN national.permit p USING (doctor_pseudonym) ORDER BY 1"
    assert [row["clinic_code"] for row in query(site, joined)] == ["1000", "1001"]


# ---------------------------------------------------------------- the key


def test_the_key_is_made_when_it_is_first_needed_and_only_its_owner_reads_it(with_file: Site) -> None:
    file = with_file.pseudonym_key.file
    put(with_file, "bureau/harvest/harvest_2020.csv", "Tỉnh,Lúa\nHà Nội,10\n")
    run_all(with_file)
    assert not file.exists()
    put(with_file, "ha-noi/clinic/clinic_2025-05.csv", lines(2))
    run_all(with_file)
    assert len(file.read_text()) == 64
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    assert [p.name for p in file.parent.iterdir()] == ["pseudonym_key"]
    assert wrong_rows(with_file, file.read_bytes()) == []


def test_a_key_that_others_can_read_is_refused(with_file: Site) -> None:
    put(with_file, "ha-noi/clinic/clinic_2025-05.csv", lines(2))
    run_all(with_file)
    with_file.pseudonym_key.file.chmod(0o640)
    put(with_file, "lao-cai/clinic/clinic_2025-05.csv", lines(2))
    (trouble,) = run_all(with_file).trouble
    assert "others can read the pseudonym key" in trouble.message.en
    assert query(with_file, "SELECT DISTINCT province_id FROM national.clinic") == [{"province_id": "ha-noi"}]


def test_the_key_shows_nowhere(site: Site) -> None:
    settings = read_settings({"NDC_PSEUDONYM_KEY": PSEUDONYM_KEY})
    shown = [repr(settings), repr(site), repr(site.pseudonym_key), repr(Key(PSEUDONYM_KEY.encode()))]
    with site.warehouse.transaction() as connection:
        key = site.pseudonym_key.lend(connection)
        shown.append(repr(key))
    shown.append(str(query(site, "SELECT * FROM control.pseudonym_key")))
    assert key.fingerprint in shown[-1]
    assert not any(PSEUDONYM_KEY in text for text in shown)
    with pytest.raises(SetupFault, match="32 random characters") as caught:
        read_settings({"NDC_PSEUDONYM_KEY": "too short"})
    assert "too short" not in str(caught.value)


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_load_under_another_key_is_refused_until_the_old_one_is_back(with_file: Site, is_lost: bool) -> None:
    put(with_file, "ha-noi/clinic/clinic_2025-05.csv", lines(2))
    run_all(with_file)
    file = with_file.pseudonym_key.file
    right = file.read_text()
    file.unlink()
    if not is_lost:
        file.touch(0o600)
        file.write_text("another key, which nobody knows of")
    put(with_file, "lao-cai/clinic/clinic_2025-05.csv", lines(2))
    (trouble,) = run_all(with_file).trouble
    assert "Put the old key back, or run: ndc pseudonyms rotate" in trouble.message.en
    assert file.exists() is not is_lost
    file.touch(0o600)
    file.write_text(right)
    assert run_all(with_file).trouble == []
    assert wrong_rows(with_file, right.encode()) == []


def test_two_first_loads_agree_on_one_key(tmp_path: Path) -> None:
    places = [KeyPlace(tmp_path / "secrets" / "pseudonym_key", None) for _ in range(8)]
    made: list[Key] = []

    def make(place: KeyPlace) -> None:
        made.append(place._make(place.file))

    threads = [threading.Thread(target=make, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.fingerprint for key in made}) == 1


# ---------------------------------------------------------------- another key


def filled(site: Site) -> None:
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(3) + "1999,01/02/2020,5,10,\n")
    for month in (5, 6):
        put(site, f"lao-cai/permit/permit_2025-0{month}.csv", lines(2, start=month * 100))
    assert run_all(site).trouble == []


def fingerprints(site: Site) -> list[tuple[str, bool]]:
    rows = query(site, "SELECT fingerprint, until IS NULL AS holds FROM control.pseudonym_key ORDER BY since, until NULLS LAST")
    return [(row["fingerprint"], row["holds"]) for row in rows]


def test_a_rotation_gives_every_row_its_new_pseudonym(with_file: Site) -> None:
    filled(with_file)
    file = with_file.pseudonym_key.file
    old = file.read_bytes()
    done = rotate(with_file.warehouse, with_file.pseudonym_key, tables(with_file))
    assert {(one.dataset, one.columns, one.rows) for one in done} == {
        ("clinic", ("doctor_pseudonym",), 3),
        ("permit", ("doctor_pseudonym",), 4),
    }
    new = file.read_bytes()
    assert new != old and wrong_rows(with_file, new) == [] and len(wrong_rows(with_file, old)) == 7
    assert fingerprints(with_file) == [(Key(old).fingerprint, False), (Key(new).fingerprint, True)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and [p.name for p in file.parent.iterdir()] == ["pseudonym_key"]
    put(with_file, "ha-noi/clinic/clinic_2025-06.csv", lines(3))
    assert run_all(with_file).trouble == [] and wrong_rows(with_file, new) == []


class Stopped(BaseException):
    """The process ends here."""


def stop(*_: object, **__: object) -> None:
    raise Stopped


def test_a_rotation_stopped_before_the_database_is_changed_changes_nothing(with_file: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(with_file)
    old = with_file.pseudonym_key.file.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("warehouse.pseudonyms.enter_key", stop)
        rotate(with_file.warehouse, with_file.pseudonym_key, tables(with_file))
    assert with_file.pseudonym_key.file.with_name("pseudonym_key.new").exists()
    assert wrong_rows(with_file, old) == []
    put(with_file, "ha-noi/clinic/clinic_2025-06.csv", lines(3))
    assert run_all(with_file).trouble == [] and wrong_rows(with_file, old) == []
    rotate(with_file.warehouse, with_file.pseudonym_key, tables(with_file))
    assert wrong_rows(with_file, with_file.pseudonym_key.file.read_bytes()) == []


def test_a_rotation_stopped_after_the_database_is_changed_is_finished_by_the_next_load(
    with_file: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(with_file)
    old = with_file.pseudonym_key.file.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(KeyPlace, "accept", stop)
        rotate(with_file.warehouse, with_file.pseudonym_key, tables(with_file))
    assert with_file.pseudonym_key.file.read_bytes() == old
    put(with_file, "ha-noi/clinic/clinic_2025-06.csv", lines(3))
    assert run_all(with_file).trouble == []
    new = with_file.pseudonym_key.file.read_bytes()
    assert new != old and wrong_rows(with_file, new) == []
    assert not with_file.pseudonym_key.file.with_name("pseudonym_key.new").exists()


def test_a_key_of_the_environment_is_changed_there(site: Site) -> None:
    filled(site)
    with pytest.raises(SetupFault, match="still the key in use"):
        rotate(site.warehouse, site.pseudonym_key, tables(site))
    changed = opened_with(site, SECRET.decode())
    put(changed, "ha-noi/clinic/clinic_2025-06.csv", lines(3))
    (trouble,) = run_all(changed).trouble
    assert "ndc pseudonyms rotate" in trouble.message.en and SECRET.decode() not in str(trouble)
    rotate(changed.warehouse, changed.pseudonym_key, tables(changed))
    assert run_all(changed).trouble == [] and wrong_rows(changed, SECRET) == []
    rotate(site.warehouse, site.pseudonym_key, tables(site))  # and back
    assert wrong_rows(site, PSEUDONYM_KEY.encode()) == []
    assert [holds for _, holds in fingerprints(site)] == [False, True]


def test_a_rotation_waits_for_a_load(site: Site) -> None:
    filled(site)
    changed = opened_with(site, SECRET.decode())
    with site.warehouse.transaction() as load:
        site.pseudonym_key.lend(load)
        worker = threading.Thread(target=rotate, args=(changed.warehouse, changed.pseudonym_key, tables(changed)))
        worker.start()
        worker.join(0.5)
        assert worker.is_alive()
        load.execute(text("UPDATE national.clinic SET doctor_pseudonym = NULL"))
    worker.join(30)
    assert wrong_rows(site, SECRET) == []


def test_rows_get_the_pseudonyms_that_their_contract_asks_for_later(new_site: Callable[..., Site], tmp_path: Path) -> None:
    folder = tmp_path / "contracts"
    folder.mkdir()
    for file in CONTRACTS.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text().replace("{property: pseudonym, value: true}, ", ""))
    site = new_site(contracts=folder)
    filled(site)
    later = Site(replace(site.settings, contracts=CONTRACTS))
    later.__dict__.update(logins=site.logins, warehouse=site.warehouse)
    planned = migrate(later.warehouse, later.contracts, later.registry, later.access)
    assert any("ndc pseudonyms fill" in c.message.en for c in planned.tables)
    assert len(wrong_rows(later, PSEUDONYM_KEY.encode())) == 7
    assert sum(one.rows for one in fill(later.warehouse, later.pseudonym_key, tables(later))) == 7
    assert wrong_rows(later, PSEUDONYM_KEY.encode()) == []
    assert [one.rows for one in fill(later.warehouse, later.pseudonym_key, tables(later))] == [0, 0]
    migrate(site.warehouse, site.contracts, site.registry, site.access)
    assert query(site, "SELECT FROM pg_attribute WHERE attname = 'doctor_pseudonym' AND NOT attisdropped") == []


# ---------------------------------------------------------------- the commands


def test_the_commands_say_what_is_there_and_what_would_be_done(
    with_file: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    monkeypatch.setattr(commands, "open_site", lambda: with_file)

    def said(command: Callable[..., None], **options: bool) -> Any:
        command(as_json=True, **options)
        return json.loads(capsys.readouterr().out)

    assert (said(commands.status)["fingerprint"], said(commands.status)["key_here"]) == (None, "missing")
    assert not with_file.pseudonym_key.file.exists()
    filled(with_file)
    before = with_file.pseudonym_key.file.read_bytes()
    facts = said(commands.status)
    assert (facts["fingerprint"], facts["key_here"]) == (Key(before).fingerprint, "fits")
    assert [(d["dataset"], d["rows_without"]) for d in facts["datasets"]] == [("clinic", 0), ("permit", 0)]
    assert [one["rows"] for one in said(commands.rotate, dry_run=True)] == [3, 4]
    assert [one["rows"] for one in said(commands.fill, dry_run=True)] == [0, 0]
    assert with_file.pseudonym_key.file.read_bytes() == before
    assert [one["rows"] for one in said(commands.rotate, dry_run=False)] == [3, 4]
    with_file.pseudonym_key.file.chmod(0o600)
    with_file.pseudonym_key.file.write_bytes(before)
    assert said(commands.status)["key_here"] == "another"
    commands.status(as_json=False)
    assert "another" in capsys.readouterr().out
