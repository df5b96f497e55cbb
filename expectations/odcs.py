"""A contract file (ODCS 3.x, YAML) becomes a frozen `Contract`.

Answers for: strictness. Standard keys first, our own only in `customProperties`; a key, type or expectation that would have
no effect is a fault that names file and line. Refuses: defaults that hide a mistake.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from expectations.contract import IN_CLEAR, UNASSIGNED, Contract, Field, Latency, OpenData, Reconciles, Schedule, Storage, Volume
from expectations.document import DOCUMENTATION, NAME, Cursor, parse_document, read_text, suggestion
from expectations.faults import Message, SetupFault
from expectations.fields import read_fields
from expectations.layout import read_layout, read_pattern
from expectations.period import PERIODICITIES, NamePattern, Periodicity
from expectations.quality import check_ids, key_rules, quality_rules

SENDER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_UNITS = {
    **dict.fromkeys(("h", "hr", "hour", "hours"), (0, 1)),
    **dict.fromkeys(("d", "day", "days"), (0, 24)),
    **dict.fromkeys(("w", "wk", "week", "weeks"), (0, 7 * 24)),
    **dict.fromkeys(("m", "mo", "month", "months"), (1, 0)),
    **dict.fromkeys(("q", "quarter", "quarters"), (3, 0)),
    **dict.fromkeys(("y", "yr", "year", "years"), (12, 0)),
}
"""Units of a latency, in months and hours. The standard has no list of them, only examples: d, day, days; y, yr, years."""
_LONGEST_MONTHS = 12 * 20


def load_contract(file: Path) -> Contract:
    """Read one contract. Raises `SetupFault` naming file and line for anything that is not understood."""
    return parse_contract(read_text(file), file)


def parse_contract(text: str, file: Path) -> Contract:
    """The same from text; `file` is what messages name."""
    document = parse_document(text, file)
    contract = _contract(document, file, text)
    _check_schema(document)  # last: what we say ourselves is said in both languages
    return contract


def load_contracts(folder: Path) -> dict[str, Contract]:
    """All contracts of a folder by dataset, in the order of their names."""
    paths = sorted(folder.glob("*.odcs.yaml"))
    if not paths:
        raise SetupFault(Message(f"{folder}: không có hợp đồng dữ liệu (*.odcs.yaml).", f"{folder}: holds no contract (*.odcs.yaml)."))
    contracts: dict[str, Contract] = {}
    for path in paths:
        contract = load_contract(path)
        if contract.dataset in contracts:
            other = contracts[contract.dataset].file
            raise SetupFault(Message(f"{path}:1: tập dữ liệu «{contract.dataset}» đã có trong {other}.", f"{path}:1: the dataset '{contract.dataset}' already stands in {other}."))  # fmt: skip
        contracts[contract.dataset] = contract
    for contract in contracts.values():
        _check_links(contract, contracts)
    return contracts


def _check_links(contract: Contract, contracts: Mapping[str, Contract]) -> None:
    """Totals are declared of a dataset that there is, by fields that it has, for measures that add up."""
    if not contract.reconciles:
        return
    place = parse_document(contract.text, contract.file).custom().child("reconciles")
    for link, one in zip(contract.reconciles, place.items() if isinstance(place.value, list) else [place], strict=True):
        target = contracts.get(link.dataset)
        if target is None:
            near = suggestion(link.dataset, list(contracts))
            one.child("dataset").fault(
                f"không có tập dữ liệu «{link.dataset}».{near[0]}", f"there is no dataset '{link.dataset}'.{near[1]}"
            )
        for name, pairs, has_to_add in (("by", link.by, False), ("measures", link.measures, True)):
            for our, their in pairs.items():
                for field, owner in ((our, contract), (their, target)):
                    fits = [f.name for f in (owner.additive_fields if has_to_add else owner.stored_fields)]
                    if field not in fits:
                        one.child(name).child(our).fault(
                            f"«{field}» không phải trường {'cộng dồn được ' if has_to_add else ''}của «{owner.dataset}».",
                            f"'{field}' is no {'field that adds up' if has_to_add else 'column'} of '{owner.dataset}'.",
                        )


@cache
def _validator() -> Any:
    from jsonschema import Draft201909Validator

    return Draft201909Validator(json.loads((files("open_data_contract_standard") / "schema.json").read_text(encoding="utf-8")))


def _check_schema(document: Cursor) -> None:
    """The file is valid against the JSON schema of the standard; dates that YAML reads as such count as text."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(json.loads(json.dumps(document.must_be(dict), default=str))))
    if error is not None:
        place, said = document.at(list(error.absolute_path)), error.message[:300]
        place.fault(f"không đúng chuẩn ODCS: {said}.", f"not valid ODCS: {said}.")


def _contract(document: Cursor, file: Path, text: str) -> Contract:
    document.take("kind").one_of(["DataContract"])
    version = document.take("apiVersion")
    if not version.text().startswith("v3."):
        version.fault("chỉ đọc ODCS 3.x.", "only ODCS 3.x is read.")
    objects = list(document.take("schema").items())
    if len(objects) != 1:
        document.take("schema").fault("cần đúng một bảng trong «schema».", "exactly one table is needed in 'schema'.")
    table = objects[0]
    name = table.take("name")
    if not NAME.fullmatch(name.text()) or name.text() == UNASSIGNED:
        name.fault(
            "tên tập dữ liệu: chữ thường, số và _, không phải từ dành riêng.",
            "a dataset's name is lower case letters, digits and _, and not a reserved word.",
        )
    if name.text().endswith(IN_CLEAR):
        name.fault(f"đuôi «{IN_CLEAR}» dành cho view của hệ thống.", f"names that end in '{IN_CLEAR}' are for the system's own views.")
    custom = document.custom()
    periodicity = cast(Periodicity, custom.take("periodicity").one_of(PERIODICITIES))
    fields, rules = read_fields(table)
    rules += key_rules(fields, table)
    rules += quality_rules(table, fields, None)
    check_ids(rules, fields, table)
    sender = custom.take("sender")
    if not SENDER.fullmatch(sender.text()):
        sender.fault("tên đơn vị: chữ thường, số và dấu nối.", "a sender's name is lower case letters, digits and hyphens.")
    description = document.find("description")
    frequency, latency = _service_levels(document)
    contract = Contract(
        dataset=name.text(),
        version=document.take("version").text(),
        label=table.text_at("businessName") or document.text_at("name") or name.text(),
        purpose=description.text_at("purpose") if description else "",
        status=document.take("status").text(),
        fields=fields,
        rules=tuple(rules),
        sender=sender.text(),
        periodicity=periodicity,
        file_names=_patterns(custom.take("fileName"), periodicity, by_province=sender.text() == "each-province"),
        file=file,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        pillar=custom.text_at("pillar"),
        tolerance=_share(custom.find("tolerance")),
        volume=_volume(custom.find("volume")),
        code_system=custom.text_at("codeSystem") or None,
        as_of=custom.choice_at("asOf", ("start", "end"), "start"),
        allows_empty=custom.flag_at("allowsEmpty"),
        territory=custom.choice_at("territory", ("province", "none"), "province"),
        storage=_storage(custom.find("storage"), sender.text()),
        layout=read_layout(custom.find("layout"), fields, periodicity),
        schedule=_schedule(custom.find("schedule")),
        open_data=_open_data(custom.find("openData")),
        reconciles=_reconciles(custom.find("reconciles"), fields),
        frequency=frequency,
        latency=latency,
    )
    document.take("id").text()
    custom.done()
    table.done(*DOCUMENTATION, "physicalName", "physicalType", "dataGranularityDescription", "logicalType")
    document.done(*DOCUMENTATION, "name", "status", "tenant", "domain", "dataProduct", "servers", "team", "roles", "support", "price", "contractCreatedTs", "slaDefaultElement", "context")  # fmt: skip
    _check_whole(contract, custom)
    return contract


def _share(place: Cursor | None) -> float:
    if place is None:
        return 0.0
    if not 0 <= place.number() <= 1:
        place.fault("tỷ lệ phải từ 0 đến 1.", "a share lies between 0 and 1.")
    return place.number()


def _patterns(place: Cursor, periodicity: Periodicity, *, by_province: bool) -> tuple[NamePattern, ...]:
    patterns = tuple(read_pattern(place, text, periodicity) for text in place.texts())
    if not patterns:
        place.fault("danh sách trống.", "the list is empty.")
    if not by_province and any(p.has_province for p in patterns):
        place.fault("{province} chỉ dùng khi các tỉnh gửi.", "{province} is for data that provinces send.")
    return patterns


def _storage(place: Cursor | None, sender: str) -> Storage:
    if sender == "each-province":
        return cast(Storage, place.one_of(("list", "leaves"))) if place else "list"
    if place:
        place.fault("chỉ dữ liệu do các tỉnh gửi mới chọn được «storage».", "only data that provinces send may choose their 'storage'.")
    return "central"


def _volume(place: Cursor | None) -> Volume | None:
    def read(p: Cursor) -> Volume:
        volume = Volume(p.take("min").number(), p.take("max").number(), p.take("over").count(1))
        if not 0 <= volume.min <= 1 <= volume.max:
            p.fault("cần min ≤ 1 ≤ max.", "min ≤ 1 ≤ max is needed: 1 is the sender's usual number of lines.")
        return volume

    return place.group(read) if place else None


def _schedule(place: Cursor | None) -> Schedule:
    def read(p: Cursor) -> Schedule:
        at, due = p.find("at"), p.find("due")
        if at and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at.text()):
            at.fault("giờ viết là HH:MM.", "an hour is written HH:MM.")
        days = re.fullmatch(r"P(\d{1,4})D", due.text()) if due else None
        if due and not days:
            due.fault("thời hạn viết là P10D (10 ngày).", "the due date is written P10D (10 days).")
        return Schedule(at.text() if at else "02:00", int(days[1]) if days else None)

    return place.group(read) if place else Schedule()


def _open_data(place: Cursor | None) -> OpenData:
    def read(p: Cursor) -> OpenData:
        publish, mart, count = p.take("publish"), p.find("mart"), p.find("minimum_count")
        if (publish.one_of(("none", "rows", "mart")) == "mart") != (mart is not None):
            publish.fault("«publish: mart» cần «mart», và ngược lại.", "'publish: mart' needs a 'mart', and the other way round.")
        return OpenData(
            publish.value,
            p.text_at("licence") or None,
            p.text_at("theme") or None,
            p.text_at("disclosure") or None,
            count.count(1) if count else None,
            mart.text() if mart else None,
        )

    return place.group(read) if place else OpenData("none")


def _reconciles(place: Cursor | None, fields: tuple[Field, ...]) -> tuple[Reconciles, ...]:
    def read(p: Cursor) -> Reconciles:
        by, measures = p.find("by"), p.take("measures")
        for pairs in (by, measures):
            for key in pairs.must_be(dict) if pairs else ():
                theirs = cast(Cursor, pairs).child(key)
                theirs.text()
                if key not in {f.name for f in fields}:
                    theirs.fault(f"không có trường «{key}».", f"there is no field '{key}'.")
        return Reconciles(p.take("dataset").text(), dict(by.must_be(dict)) if by else {}, dict(measures.must_be(dict)))

    if place is None:
        return ()
    return tuple(one.group(read) for one in (place.items() if isinstance(place.value, list) else [place]))


def _service_levels(document: Cursor) -> tuple[str | None, Latency | None]:
    """Frequency and latency; the standard's other service levels are for readers."""
    listed, frequency, latency = document.find("slaProperties"), None, None
    for item in listed.items() if listed else ():
        name = item.take("property").one_of(("frequency", "latency", "retention", "availability", "generalAvailability", "endOfLife"))
        value, unit = item.take("value"), item.find("unit")
        if name == "frequency":
            frequency = f"{value.value}{unit.text() if unit else ''}"
        elif name == "latency":
            if latency is not None:
                item.fault("«latency» chỉ nêu một lần.", "'latency' is said once.")
            latency = _latency(value, unit or item.take("unit"))
        item.done("driver", "description", "element", "id", "valueExt", "scheduler", "schedule")
    return frequency, latency


def _latency(value: Cursor, unit: Cursor) -> Latency:
    """A whole number of units, as a number or as text. Begun days count as days: a due date is a day, not an hour."""
    months, hours = _UNITS[unit.one_of(tuple(_UNITS))]
    number = int(value.value) if isinstance(value.value, str) and re.fullmatch(r"[0-9]{1,9}", value.value) else value.count()
    latency = Latency(number * months, -(-number * hours // 24))
    if latency.months > _LONGEST_MONTHS or latency.days > _LONGEST_MONTHS * 30:
        value.fault("thời hạn quá dài.", "the latency is too long to be meant.")
    return latency


def _check_whole(contract: Contract, custom: Cursor) -> None:
    """What only the whole contract can say."""
    if contract.is_central and contract.territory == "province" and contract.province_field is None:
        custom.child("sender").fault(
            "đơn vị trung ương gửi nhiều tỉnh: cần một trường «holds: province», hoặc «territory: none».",
            "a central body sends many provinces: one field needs 'holds: province', or the dataset 'territory: none'.",
        )
    if contract.territory == "none" and contract.province_field is not None:
        custom.child("territory").fault(
            f"«territory: none» thì không trường nào cho biết tỉnh, mà có «{contract.province_field.name}».",
            f"with 'territory: none' no field tells the province, but '{contract.province_field.name}' does.",
        )
    if contract.restricted_fields and contract.layout.unpivot:
        names = ", ".join(f.name for f in contract.restricted_fields)
        custom.child("layout").child("unpivot").fault(
            f"«unpivot» làm một dòng thành nhiều dòng, nên không nối được với trường hạn chế ({names}); "
            "hãy đưa các trường đó vào một tập dữ liệu riêng.",
            f"'unpivot' makes several rows of a line, to which restricted fields ({names}) cannot be joined; "
            "put those fields into a dataset of their own.",
        )
    if contract.code_system and contract.province_field is None:
        custom.child("codeSystem").fault(
            "«codeSystem» không có tác dụng khi không trường nào cho biết tỉnh.",
            "'codeSystem' has no effect where no field tells the province.",
        )
    sheet_says = contract.layout.sheet is not None and "{period" in contract.layout.sheet
    if not (sheet_says or contract.period_field or any(p.has_period for p in contract.file_names)):
        custom.child("fileName").fault(
            "không biết kỳ báo cáo: cần {period:…} trong «fileName» hoặc «sheet», hoặc một trường «holds: period».",
            "nothing tells the period: 'fileName' or 'sheet' needs {period:…}, or a field 'holds: period'.",
        )
