"""The machinery names no dataset, no country and no province: everything of that kind stands in contracts, registries and marts."""

from __future__ import annotations

import ast
import csv
import io
import re
import tokenize
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

CONTRACTS = [ROOT / "expectations" / "contracts", ROOT / "examples" / "italy" / "contracts"]
REGISTRIES = [ROOT / "warehouse" / "reference", ROOT / "examples" / "italy" / "reference"]
COUNTRIES = re.compile(r"\bvi[eệ]t[ _-]?nam\b|\bitaly\b|\bitalia\b|\bvn\b", re.IGNORECASE)
MACHINERY = sorted(
    path
    for folder in ("etl", "warehouse", "expectations", "dags")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".j2", ".jinja", ".html", ".mako") and path.parent not in (*CONTRACTS, *REGISTRIES)
)
ALLOWED = {"etl/settings.py": ["Asia/Ho_Chi_Minh"]}
"""The one default that tells where this was made: the time zone of receipts and schedules."""


def said(path: Path) -> str:
    """What a file says besides comments and docstrings, where an example may stand."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return re.sub(r"\{#.*?#\}|<!--.*?-->", "", text, flags=re.DOTALL)
    documentation = set(_docstrings(ast.parse(text)))
    kept = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT and not (token.type == tokenize.STRING and token.start[0] in documentation):
            kept.append(token.string)
    return " ".join(kept)


def _docstrings(tree: ast.Module) -> Iterator[int]:
    """The lines where docstrings begin: texts that are statements, those below a name of a module or class included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.lineno


@cache
def province_names() -> re.Pattern[str]:
    """Names of two words or more, as registries have them, without accents, and as ids; one word may mean anything."""
    names = set()
    for folder in REGISTRIES:
        with (folder / "provinces.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                plain = (
                    "".join(c for c in unicodedata.normalize("NFD", row["name"]) if not unicodedata.combining(c))
                    .replace("Đ", "D")
                    .replace("đ", "d")
                )
                names |= {row["name"], plain, plain.replace(" ", "_"), row["province_id"], row["province_id"].replace("-", "_")}
    several = {name for name in names if re.search(r"\w[ _-]+\w", name)}
    assert len(several) > 200
    return re.compile(rf"(?<!\w)(?:{'|'.join(sorted(map(re.escape, several), key=len, reverse=True))})(?!\w)")


@pytest.mark.parametrize("path", MACHINERY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_machinery_names_no_dataset_country_or_province(path: Path) -> None:
    text = said(path)
    for allowed in ALLOWED.get(str(path.relative_to(ROOT)), ()):
        text = text.replace(allowed, "")
    datasets = {file.name.removesuffix(".odcs.yaml") for folder in CONTRACTS for file in folder.glob("*.odcs.yaml")}
    names = re.compile(rf"(?<![a-z0-9]){'(?![a-z0-9])|(?<![a-z0-9])'.join(sorted(datasets))}(?![a-z0-9])", re.IGNORECASE)
    assert [found[0] for pattern in (names, COUNTRIES, province_names()) for found in pattern.finditer(text)] == []


def test_the_guard_itself_sees_names_in_code_and_none_in_comments(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text('"""Of Bình Định."""\nx = 1  # Thừa Thiên Huế\nif name == "binh-dinh":\n    """A word on it."""\n', encoding="utf-8")
    assert "Bình" not in said(file) and "Huế" not in said(file)
    assert province_names().search(said(file))
