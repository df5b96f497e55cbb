"""A YAML document that remembers on which line everything stands.

Answers for: every fault found in a contract or settings file names its file and line, and a key nobody knows is a fault.
Refuses: duplicate keys, and values of another type than asked for; nothing is coerced.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from expectations.faults import Message, SetupFault

T = TypeVar("T")
NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
"""A name that can be one of a table or column."""
DOCUMENTATION = ("tags", "authoritativeDefinitions", "description", "businessName", "id")
"""Keys of the standard that are for readers only."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TYPE_NAMES = {
    str: ("chuỗi ký tự", "text"),
    int: ("số nguyên", "a whole number"),
    float: ("số", "a number"),
    bool: ("true hoặc false", "true or false"),
    list: ("danh sách", "a list"),
    dict: ("nhóm khoá", "a group of keys"),
}


class Cursor:
    """One place of a document. Keys are taken out one by one; `done` complains about those that nobody took."""

    def __init__(self, file: Path, value: Any, lines: dict[tuple[object, ...], int], path: tuple[object, ...] = ()) -> None:
        self.file, self.value, self.path = file, value, path
        self._lines = lines
        self._taken: set[str] = set()

    @property
    def line(self) -> int:
        """The line of this place, counted from 1."""
        path = self.path
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path, 1)

    def fault(self, vi: str, en: str) -> NoReturn:
        """Raise a `SetupFault` that begins with the file and line of this place."""
        raise SetupFault(Message(f"{self.file}:{self.line}: {vi}", f"{self.file}:{self.line}: {en}"), rule="document")

    def child(self, key: object) -> Cursor:
        return Cursor(self.file, self.value[key], self._lines, (*self.path, key))

    def lines_below(self) -> dict[tuple[object, ...], int]:
        """The line of this place and of all below it, by their path from here."""
        depth = len(self.path)
        return {(): self.line} | {path[depth:]: line for path, line in self._lines.items() if path[:depth] == self.path}

    def has(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def at(self, path: Sequence[object]) -> Cursor:
        """The place at an absolute path, or the nearest one above it that exists."""
        value: Any = self.value
        here: tuple[object, ...] = self.path
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                break
            here = (*here, key)
        return Cursor(self.file, value, self._lines, here)

    def take(self, key: str) -> Cursor:
        """The value of a key that must be there."""
        self.must_be(dict)
        self._taken.add(key)
        if key not in self.value:
            self.fault(f"thiếu khoá «{key}».", f"the key '{key}' is missing.")
        return self.child(key)

    def find(self, key: str) -> Cursor | None:
        """The value of a key that may be absent."""
        self.must_be(dict)
        self._taken.add(key)
        return self.child(key) if key in self.value and self.value[key] is not None else None

    def must_be(self, kind: type[T]) -> T:
        """The value, which is of the given type; whole numbers pass as numbers, true and false do not."""
        value = self.value
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool):
            vi, en = _TYPE_NAMES[kind]
            found_vi, found_en = _found(value)
            is_unquoted = kind is str and isinstance(value, (int, float, date))  # 12:30 is a number of base 60, no is false
            vi, en = (f"{vi} trong ngoặc kép", f"{en} in quotes") if is_unquoted else (vi, en)
            self.fault(f"cần {vi}, gặp {found_vi}.", f"expected {en}, found {found_en}.")
        return value  # type: ignore[no-any-return]  # `fits` is what a cast would claim

    def text(self) -> str:
        return self.must_be(str)

    def number(self) -> float:
        return float(self.must_be(float))

    def one_of(self, allowed: Sequence[str]) -> str:
        value = self.text()
        if value not in allowed:
            near = suggestion(value, allowed)
            shown = ", ".join(allowed[:12]) + (", …" if len(allowed) > 12 else "")
            self.fault(f"«{value}» không hợp lệ; cho phép: {shown}.{near[0]}", f"'{value}' is not allowed; use one of {shown}.{near[1]}")
        return value

    def items(self) -> Iterator[Cursor]:
        for index in range(len(self.must_be(list))):
            yield self.child(index)

    def texts(self) -> tuple[str, ...]:
        """A list of texts; one text alone counts as a list of one."""
        if isinstance(self.value, str):
            return (self.value,)
        return tuple(item.text() for item in self.items())

    def text_at(self, key: str) -> str:
        """The text of a key, empty when it is absent."""
        found = self.find(key)
        return found.text() if found else ""

    def texts_at(self, key: str) -> tuple[str, ...]:
        found = self.find(key)
        return found.texts() if found else ()

    def flag_at(self, key: str) -> bool:
        """Whether a key is true; it is not when it is absent."""
        found = self.find(key)
        return found.must_be(bool) if found else False

    def choice_at(self, key: str, allowed: Sequence[str], default: str) -> Any:
        found = self.find(key)
        return found.one_of(allowed) if found else default

    def count(self, least: int = 0) -> int:
        """A whole number that is not below `least`."""
        if self.must_be(int) < least:
            self.fault(f"cần số nguyên từ {least} trở lên.", f"a whole number of {least} or more is needed.")
        return self.must_be(int)

    def group(self, read: Callable[[Cursor], T]) -> T:
        """What `read` makes of a group of keys; a key that it does not take is a fault."""
        self.must_be(dict)
        result = read(self)
        self.done()
        return result

    def custom(self) -> Cursor:
        """The `customProperties` of this place as one group of keys."""
        values: dict[str, Any] = {}
        listed = self.find("customProperties")
        lines: dict[tuple[object, ...], int] = {(): (listed or self).line}
        for item in listed.items() if listed else ():
            key, value = item.take("property").text(), item.take("value")
            if key in values:
                item.fault(f"«{key}» xuất hiện hai lần.", f"'{key}' stands here twice.")
            values[key] = value.value
            lines |= {(key, *path): line for path, line in value.lines_below().items()}
            item.done("id", "description", "vendor")
        return Cursor(self.file, values, lines)

    def done(self, *documentation: str) -> None:
        """Complain about keys that nobody took; keys in `documentation` are for readers only and pass."""
        for key in self.must_be(dict):
            if key not in self._taken and key not in documentation:
                near = suggestion(str(key), [*self._taken, *documentation])
                self.child(key).fault(f"không biết khoá «{key}».{near[0]}", f"unknown key '{key}'.{near[1]}")


def suggestion(word: str, known: Sequence[str]) -> tuple[str, str]:
    """ "Did you mean" in both languages, or two empty texts."""
    near = difflib.get_close_matches(word, known, 1, 0.7)
    return (f" Có phải «{near[0]}»?", f" Did you mean '{near[0]}'?") if near else ("", "")


def _found(value: Any) -> tuple[str, str]:
    """What was found, in both languages; of a list or group of keys only that it is one."""
    for kind in (list, dict):
        if isinstance(value, kind):
            return _TYPE_NAMES[kind]
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return (f"«{value}»", f"'{value}'") if isinstance(value, str) else (shown, shown)


def read_text(file: Path) -> str:
    """The text of a file, without a byte order mark. Raises `SetupFault` when it cannot be read as UTF-8."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SetupFault(Message(f"{file}: không đọc được ({error.strerror}).", f"{file}: cannot be read ({error.strerror}).")) from error
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        where = f"{file}:{content.count(bytes([10]), 0, error.start) + 1}"
        raise SetupFault(
            Message(f"{where}: tệp không phải UTF-8 ({error.reason}).", f"{where}: the file is not UTF-8 ({error.reason}).")
        ) from error


def parse_document(text: str, file: Path) -> Cursor:
    """Read YAML. Raises `SetupFault` with file and line when it is not YAML or holds a key twice."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
        before = text.encode()[:position].count(b"\n") if isinstance(position, int) else 0  # a character that YAML does not allow
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        _place(file, mark.line + 1 if mark else before + 1).fault(f"không đọc được YAML: {problem}.", f"not readable as YAML: {problem}.")
    lines: dict[tuple[object, ...], int] = {}
    if node is None:
        return Cursor(file, {}, lines)
    return Cursor(file, _construct(file, node, (), lines, ()), lines)


def _place(file: Path, line: int) -> Cursor:
    return Cursor(file, None, {(): line})


def _construct(
    file: Path, node: yaml.Node, path: tuple[object, ...], lines: dict[tuple[object, ...], int], above: tuple[yaml.Node, ...]
) -> Any:
    lines[path] = node.start_mark.line + 1
    if any(node is other for other in above):
        _place(file, node.start_mark.line + 1).fault("chỗ này chứa chính nó.", "this place contains itself.")
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                _place(file, line).fault("khoá phải là một từ, không phải nhóm hay «<<».", "a key is one word, no group and no '<<'.")
            key = key_node.value  # as written: `no` and 2024 are words here
            if key in result:
                _place(file, line).fault(f"khoá «{key}» xuất hiện hai lần.", f"the key '{key}' stands here twice.")
            result[key] = _construct(file, value_node, (*path, key), lines, above)
            lines[(*path, key)] = line
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(file, item, (*path, index), lines, above) for index, item in enumerate(node.value)]
    return _scalar(file, node)


def _scalar(file: Path, node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:  # a tag of somebody's own, 2025-02-30
        problem = getattr(error, "problem", None) or str(error)
        _place(file, node.start_mark.line + 1).fault(f"không hiểu giá trị này: {problem}.", f"this value is not understood: {problem}.")
    finally:
        loader.dispose()
