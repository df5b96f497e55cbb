"""For whom, for when and on what grounds lines are invented, and the columns that come of it.

Answers for: one stream of chance for each field; codes as valid on the day. Refuses: inventing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.sampling.texts import Ints
from expectations.contract import Condition, Contract
from expectations.document import Cursor
from expectations.faults import Message, SetupFault
from expectations.period import Period
from warehouse.provinces import Registry
from warehouse.registry_files import is_within

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(slots=True)
class Made:
    """One column of a block. `text` is null where the cell is empty; numbers are plain (no thousands mark, decimal point).

    `moments` are seconds since 1970 of a date or timestamp, right where `text` is there; `entries` say which entry of the
    field's `values` was taken.
    """

    text: pa.Array
    moments: Ints | None = None
    entries: Ints | None = None


@dataclass(slots=True)
class Block:
    """Some lines in a row: the number of the first one, from 0, how many there are, and the columns made so far."""

    first: int
    count: int
    made: dict[str, Made] = field(default_factory=dict)


Maker = Callable[[Block], Made]


@dataclass(frozen=True, slots=True)
class Setting:
    """For whom and for when lines are invented. `province_id` is None for a body that sends all provinces at once."""

    contract: Contract
    registry: Registry
    province_id: str | None
    period: Period
    seed: int

    @property
    def day(self) -> date:
        return self.period.start if self.contract.as_of == "start" else self.period.end

    def random(self, name: str) -> np.random.Generator:
        """A stream of its own for each field, so that a new field leaves the values of the others as they were."""
        place = f"{self.contract.dataset} {self.province_id} {self.period}"
        return np.random.default_rng([self.seed % 2**32, crc32(place.encode()), crc32(name.encode())])

    def codes(self, code_list: str, place: Cursor) -> list[str]:
        """The codes of a list that are valid on the day, in the province or in all."""
        if code_list != "communes":
            place.fault(f"không có danh mục mã «{code_list}».", f"there is no code list '{code_list}'.")
        provinces = [self.province_id] if self.province_id else [p.province_id for p in self.registry.on(self.day)]
        return sorted(code for province_id in provinces for code in self.registry.communes_on(self.day, province_id))

    def province_code(self, system: str, place: Cursor) -> str:
        """The sender's code in a code system: of the day, else its own last one, else that of a predecessor."""
        if self.province_id is None:
            place.fault("{province:…} chỉ dùng khi một tỉnh gửi.", "{province:…} has a meaning only where one province sends.")
        return self.code_of(self.province_id, system, place)

    def code_of(self, province_id: str, system: str, place: Cursor) -> str:
        """A province's code in a code system: of the day, else its own last one, else that of a predecessor."""
        bearers = (province_id, *sorted(self.registry.predecessors(province_id)))
        known = [c for bearer in bearers for c in self.registry.codes if c.code_system == system and c.province_id == bearer]
        if not known:
            place.fault(
                f"không có mã của {province_id} trong hệ mã «{system}».", f"{province_id} has no code in the code system '{system}'."
            )
        return max(known, key=lambda c: (-bearers.index(c.province_id), is_within(self.day, c), c.valid_from)).code


def holds(conditions: Sequence[Condition], block: Block) -> Mask:
    """For each line of the block whether all conditions hold."""
    mask = np.ones(block.count, bool)
    for condition in conditions:
        text = block.made[condition.field].text
        if condition.is_present is not None:
            truth = text.is_valid() if condition.is_present else text.is_null()
        else:
            truth = pc.is_in(text, value_set=pa.array([str(v) for v in condition.values or ()], pa.string()))
            truth = truth if condition.is_in else pc.invert(truth)
        mask &= truth.to_numpy(zero_copy_only=False)
    return mask


def check_setting(setting: Setting) -> None:
    """Raise `SetupFault` where nothing can be invented: a province that does not exist on the day, a layout that is no plain table."""
    contract, province_id = setting.contract, setting.province_id
    if province_id is not None and not setting.registry.is_valid(province_id, setting.day):
        message = Message("Không có tỉnh {id} vào ngày {day}.", "There is no province {id} on {day}.")
        raise SetupFault(message.fill(id=province_id, day=setting.day), rule="sample")
    if province_id is None and not contract.is_central:
        message = Message("{dataset}: mỗi tỉnh gửi một tệp; hãy nêu tỉnh.", "{dataset}: each province sends a file; name the province.")
        raise SetupFault(message.fill(dataset=contract.dataset), rule="sample")
    if contract.layout.unpivot or contract.layout.records:
        message = Message(
            "{file}: chỉ đặt ra được bảng thường, không có «unpivot» hay «records».",
            "{file}: only a plain table can be invented, without 'unpivot' or 'records'.",
        )
        raise SetupFault(message.fill(file=contract.file), rule="sample")
