"""Where the table stands in its file: `layout` of a contract's `customProperties`."""

from __future__ import annotations

from expectations.arguments import known, regex
from expectations.contract import Field, Layout, Lines, Numbers, Unpivot
from expectations.document import Cursor
from expectations.period import BadPattern, NamePattern, Periodicity


def read_layout(place: Cursor | None, fields: tuple[Field, ...], periodicity: Periodicity) -> Layout:
    def read(p: Cursor) -> Layout:
        sheet, header, ignore, records = p.find("sheet"), p.find("header"), p.find("ignore"), p.find("records")
        filled = p.find("fill_down")
        if sheet:
            read_pattern(sheet, sheet.text(), periodicity) if "{period" in sheet.text() else regex(sheet)
        for item in filled.items() if filled else ():
            known(item, fields)
        anchor = count = numbered = None
        if header:
            header.must_be(dict)
            anchor, count, numbered = header.find("anchor"), header.find("lines"), header.find("numbered")
            if count and count.value != "auto" and not 1 <= count.must_be(int) <= 8:
                count.fault("số dòng tiêu đề từ 1 đến 8, hoặc auto.", "a header has 1 to 8 lines, or auto.")
            header.done()
        return Layout(
            sheet=sheet.text() if sheet else None,
            anchor=anchor.text() if anchor else None,
            header_lines=None if count is None or count.value == "auto" else count.value,
            numbered=numbered.one_of(("optional", "required", "never")) if numbered else "optional",  # type: ignore[arg-type]
            ignore=ignore.texts() if ignore else (),
            fill_down=filled.texts() if filled else (),
            records=records.text() if records else None,
            lines=_lines(p.find("lines"), fields),
            numbers=_numbers(p.find("numbers")),
            unpivot=_unpivot(p.find("unpivot"), fields),
        )

    return place.group(read) if place else Layout()


def _lines(place: Cursor | None, fields: tuple[Field, ...]) -> Lines:
    def read(p: Cursor) -> Lines:
        subtotal, end = p.find("subtotal"), p.find("end")
        first = labels = titled = None
        alone = False
        if subtotal:
            subtotal.must_be(dict)
            first, labels, titled = subtotal.find("first_cell"), subtotal.find("labels"), subtotal.find("field")
            alone = subtotal.flag_at("alone")
            if titled:
                known(titled, fields)
            subtotal.done()
            if not (first or labels or alone):
                subtotal.fault("cần «first_cell», «labels» hoặc «alone».", "'first_cell', 'labels' or 'alone' is needed.")
        return Lines(
            total=p.texts_at("total"),
            subtotal_first_cell=regex(first) if first else None,
            subtotal_labels=labels.texts() if labels else (),
            subtotal_alone=alone,
            subtotal_field=titled.text() if titled else None,
            skip=p.texts_at("skip"),
            end=regex(end) if end else None,
            unassigned=p.texts_at("unassigned"),
        )

    return place.group(read) if place else Lines()


def _numbers(place: Cursor | None) -> Numbers:
    def read(p: Cursor) -> Numbers:
        decimal = p.choice_at("decimal", (".", ","), ".")
        thousands = p.choice_at("thousands", ("", ".", ",", " "), "")
        if decimal == thousands:
            p.fault("dấu thập phân và dấu hàng nghìn phải khác nhau.", "the decimal and the thousands mark must differ.")
        missing = p.find("missing")
        return Numbers(decimal, thousands, missing.texts() if missing else Numbers().missing, p.flag_at("footnote_marks"))

    return place.group(read) if place else Numbers()


def _unpivot(place: Cursor | None, fields: tuple[Field, ...]) -> Unpivot | None:
    def read(p: Cursor) -> Unpivot:
        names, values, pattern, beside = p.take("names"), p.find("values"), p.find("pattern"), p.find("beside")
        for named in (names, values, beside):
            if named:
                known(named, fields)
        if not (values or pattern):
            p.fault("cần «values» hoặc «pattern».", "'values' or 'pattern' is needed.")
        return Unpivot(
            names.text(), values.text() if values else None, regex(pattern) if pattern else None, beside.text() if beside else None
        )

    return place.group(read) if place else None


def read_pattern(place: Cursor, text: str, periodicity: Periodicity) -> NamePattern:
    try:
        return NamePattern(text, periodicity)
    except BadPattern as error:
        place.fault(f"mẫu tên «{text}»: {error.message.vi}", f"the name pattern '{text}': {error.message.en}")
