"""Which provinces exist on a day, what became of the others, and which one a written name or code means.

Answers for: one registry of a country's provinces, dated, read from a folder of CSV files. A province keeps its id through
changes of name and kind; a merger ends the ids that go in and starts a new one, so that every day belongs to exactly one set.
Refuses: guessing. A spelling that is nobody's name and a code that is nobody's code on that day get no province, only
candidates for a person to choose from; a day before the registry is complete is a fault, not an answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from expectations.faults import Message, SetupFault
from expectations.text import normalise
from warehouse.registry_files import (
    Commune,
    Province,
    ProvinceCode,
    Provinces,
    is_within,
    read_aliases,
    read_codes,
    read_communes,
    read_provinces,
    read_unit_words,
)
from warehouse.spelling import CodeBook, Spellings

__all__ = ["Candidate", "Province", "ProvinceCode", "Registry", "Resolution", "load_registry"]

_DAY = timedelta(days=1)
_MERGED = Message(
    "{name} đã nhập vào {heir} ({id}) từ ngày {day}.",
    "{name} was merged into {heir} ({id}) on {day}.",
)
_ENDED = Message("{name} không còn từ ngày {day}.", "{name} exists no more from {day}.")
_NOT_YET = Message("{name} ({id}) chỉ có từ ngày {day}.", "{name} ({id}) exists only from {day}.")
_AMBIGUOUS = Message(
    "Cách viết này chỉ nhiều tỉnh; ghi tên đầy đủ.",
    "This spelling stands for several provinces; write the full name.",
)
_OTHER_KIND = Message(
    "Cách viết này chỉ một loại đơn vị khác; tỉnh trùng tên là '{name}'.",
    "This spelling names another kind of unit; the province of that name is '{name}'.",
)
_REMARK = Message(
    "Phần trong ngoặc có thể chỉ đơn vị cũ hoặc đơn vị mới cùng tên {name} ({ids}); bỏ phần đó đi.",
    "The remark in brackets may mean the old or the new unit named {name} ({ids}); leave it out.",
)
_CODE_OF_OTHER_DAYS = Message(
    "Mã {code} không dùng cho ngày {day}; mã này chỉ {name} ({id}) từ {start} đến {end}.",
    "Code {code} is not in use on {day}; it means {name} ({id}) from {start} to {end}.",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A province of the day that may be meant; `likeness` in percent, 100 where it, or what went into it, bears the very name."""

    province_id: str
    name: str
    likeness: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a text means on a day: a province, or none with the candidates and, where there is a reason, a `note` that gives it.

    `repaired`: the code was not written as the registry has it (a lost zero, a trailing ".0", another case).
    """

    province_id: str | None
    candidates: tuple[Candidate, ...] = ()
    note: Message | None = None
    repaired: bool = False


class Registry:
    """The provinces of a country, all their name periods and codes. Made by `load_registry`."""

    def __init__(self, periods: Provinces, codes: Sequence[ProvinceCode], spellings: Spellings, communes_file: Path) -> None:
        self._periods = periods
        self._spellings = spellings
        self._communes_file = communes_file
        self.rows = tuple(period for life in periods.values() for period in life)  # every name period, as in `provinces.csv`
        self.ids = tuple(sorted(periods))
        self.codes = tuple(codes)
        self.code_systems = tuple(dict.fromkeys(code.code_system for code in codes))
        self._code_books = {name: CodeBook(code for code in codes if code.code_system == name) for name in self.code_systems}
        self.communes_file_present = communes_file.is_file()
        starts = {period.valid_from for period in self.rows}
        ends = {period.valid_to for period in self.rows if period.valid_to}
        self.complete_from = min(starts)
        self.last_day_known = max(starts | ends)  # of the last change on record; later days are answered as if nothing followed
        self._changes = sorted(starts | {end + _DAY for end in ends})
        self._sets = [{p.province_id: p for p in self.rows if is_within(day, p)} for day in self._changes]

    def _on(self, day: date) -> dict[str, Province]:
        if day < self.complete_from:
            message = Message(
                "Danh mục tỉnh chỉ đầy đủ từ {start}; không có danh mục cho ngày {day}. Bỏ các kỳ trước ngày đó hoặc bổ sung danh mục.",
                "The province registry is complete only from {start}; it knows nothing of {day}. Leave out earlier periods, or extend it.",
            )
            raise SetupFault(message.fill(start=self.complete_from, day=day), rule="day-before-registry")
        return self._sets[bisect_right(self._changes, day) - 1]

    def on(self, day: date) -> tuple[Province, ...]:
        """The provinces of `day` under the names they bore then, by id. Raises `SetupFault` before `complete_from`."""
        return tuple(province for _, province in sorted(self._on(day).items()))

    def exists(self, province_id: str) -> bool:
        """Whether the id was ever that of a province."""
        return province_id in self._periods

    def is_valid(self, province_id: str, day: date) -> bool:
        """Whether the province exists on `day`. Raises `SetupFault` before `complete_from`."""
        return province_id in self._on(day)

    def get(self, province_id: str, day: date | None = None) -> Province:
        """The province under its name of `day`, or under its last name; `KeyError` if it is not known, or not then."""
        return self._on(day)[province_id] if day else self._periods[province_id][-1]

    def predecessors(self, province_id: str) -> frozenset[str]:
        """All provinces that went into this one, directly or through others; empty for one that came from no merger."""
        return frozenset(earlier for earlier in self.ids if province_id in self.successor_chain(earlier))

    def successor_chain(self, province_id: str) -> tuple[str, ...]:
        """What the province went into, and what that went into, to the present; empty while the province lasts."""
        successor = self.get(province_id).successor_id
        return (successor, *self.successor_chain(successor)) if successor else ()

    def communes_on(self, day: date, province_id: str) -> frozenset[str]:
        """The codes of the communes of a province on `day`. Raises `SetupFault` for a day before `communes_from`."""
        if self.communes_from is None or day < self.communes_from:
            message = Message(
                "{file}: không có danh mục xã cho ngày {day}; danh mục bắt đầu từ {start}.",
                "{file}: no communes are known for {day}; the list starts on {start}. Do not check communes for earlier days, or extend it.",
            )
            values = {"file": self._communes_file, "day": day, "start": self.communes_from}
            raise SetupFault(message.fill(**values), rule="day-before-communes")
        return frozenset(commune.code for commune in self._communes.get(province_id, ()) if is_within(day, commune))

    def communes(self, province_ids: Iterable[str]) -> Iterator[Commune]:
        """Every commune that is known of these provinces, of all days."""
        for province_id in province_ids:
            yield from self._communes.get(province_id, ())

    @cached_property
    def communes_from(self) -> date | None:
        """The first day for which communes are known; none where the country's folder has no communes."""
        return min((commune.valid_from for communes in self._communes.values() for commune in communes), default=None)

    @cached_property
    def _communes(self) -> dict[str, list[Commune]]:
        communes: dict[str, list[Commune]] = defaultdict(list)
        for commune in read_communes(self._communes_file, self._periods):
            communes[commune.province_id].append(commune)
        return dict(communes)

    def resolve(self, text: str, day: date, code_system: str | None = None) -> Resolution:
        """What `text` means on `day`: a code where a code system is named, else a spelling.

        Raises `SetupFault` for a code system that the registry does not have, and before `complete_from`.
        """
        valid = self._on(day)
        if code_system is None:
            return self._resolve_name(text, day, valid)
        if code_system not in self._code_books:
            message = Message(
                "Không có hệ mã '{system}'; có: {known}.", "There is no code system '{system}'; there are: {known}. Mend the contract."
            )
            raise SetupFault(message.fill(system=code_system, known=", ".join(self.code_systems)), rule="code-system")
        return self._resolve_code(normalise(text), day, self._code_books[code_system])

    def _resolve_name(self, text: str, day: date, valid: dict[str, Province]) -> Resolution:
        reading = self._spellings.read(text)
        if not reading.province_ids:
            nearest = self._spellings.nearest(text)
            most_alike = [i for i, likeness in nearest.items() if likeness == max(nearest.values())]
            return Resolution(None, self._candidates(nearest, day), self._fate(most_alike, day))
        bearers = dict.fromkeys(sorted(reading.province_ids), 100)
        living = [province_id for province_id in bearers if province_id in valid]
        if not living:
            return Resolution(None, self._candidates(bearers, day), self._fate(list(bearers), day))
        candidates = self._candidates(dict.fromkeys(living, 100), day)
        if len(living) > 1:
            return Resolution(None, candidates, _AMBIGUOUS)
        # A file written after a change of kind uses the new one for earlier periods too, so any kind it ever was will do.
        if not reading.unit_types <= {period.unit_type for period in self._periods[living[0]]}:
            return Resolution(None, candidates, _OTHER_KIND.fill(name=valid[living[0]].full_name))
        if reading.has_remark and len(bearers) > 1:
            return Resolution(None, candidates, _REMARK.fill(name=valid[living[0]].name, ids=", ".join(bearers)))
        return Resolution(living[0])

    def _resolve_code(self, written: str, day: date, book: CodeBook) -> Resolution:
        meanings = book.meanings(written)
        for code in meanings:
            if is_within(day, code):
                return Resolution(code.province_id, repaired=written != code.code)
        if not meanings:
            return Resolution(None)
        code = max((m for m in meanings if m.valid_from <= day), key=lambda m: m.valid_from, default=meanings[0])
        note = _CODE_OF_OTHER_DAYS.fill(
            code=code.code,
            day=day,
            name=self.get(code.province_id).name,
            id=code.province_id,
            start=code.valid_from,
            end=code.valid_to or "…",
        )
        return Resolution(None, self._candidates({code.province_id: 100}, day), note)

    def _candidates(self, likeness: Mapping[str, int], day: date) -> tuple[Candidate, ...]:
        """The provinces themselves where they exist on `day`, else what they went into."""
        valid, found = self._on(day), dict[str, int]()
        for province_id, percent in likeness.items():
            for living in (i for i in (province_id, *self.successor_chain(province_id)) if i in valid):
                found[living] = max(found.get(living, 0), percent)
        return tuple(Candidate(i, valid[i].name, percent) for i, percent in found.items())

    def _fate(self, province_ids: Sequence[str], day: date) -> Message | None:
        """Why none of these provinces exists on `day`; no message if one does, or if there are none."""
        if not province_ids or any(self.is_valid(province_id, day) for province_id in province_ids):
            return None
        first, last = self._periods[province_ids[0]][0], self.get(province_ids[0])
        if last.valid_to is None or day < first.valid_from:
            return _NOT_YET.fill(name=first.name, id=first.province_id, day=first.valid_from)
        fate = _MERGED if last.successor_id else _ENDED
        for heir in self.successor_chain(last.province_id):
            if self.is_valid(heir, day):
                fate = fate.fill(heir=self.get(heir, day).name, id=heir)
        return fate.fill(name=last.name, day=last.valid_to + _DAY)


def load_registry(folder: Path) -> Registry:
    """The registry in `folder`. Raises `SetupFault`, naming file and line, for the first thing in it that cannot be so."""
    provinces = read_provinces(folder / "provinces.csv")
    codes = read_codes(folder / "province_codes.csv", provinces)
    aliases = read_aliases(folder / "province_aliases.csv", provinces)
    bearers: dict[str, set[str]] = defaultdict(set)
    for province_id, life in provinces.items():
        for period in life:
            bearers[period.name].add(province_id)
    # A name addresses all who ever bore it, so one alias of "Gia Lai" serves the province before the merger and the one after.
    names = [(written, province_id) for written, name in [*((n, n) for n in bearers), *aliases] for province_id in bearers[name]]
    spellings = Spellings(names, read_unit_words(folder / "unit_words.csv"))
    return Registry(provinces, codes, spellings, folder / "communes.csv")
