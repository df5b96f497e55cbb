"""The report of a proof of access, for an auditor to keep: one JSON file for machines, and beside it a page for people.

Answers for: both say the same, hold no value of any row, and can be read by this account alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from warehouse.access.findings import Proof

FORMAT = 1


def default_name(proof: Proof) -> str:
    return f"proof-{proof.at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"


def proof_facts(proof: Proof) -> dict[str, Any]:
    """The proof in plain values."""
    return {"format": FORMAT, "is_clean": proof.is_clean, **asdict(proof), "at": proof.at.astimezone(UTC).isoformat()}


def write_proof(proof: Proof, file: Path) -> Path:
    """Write the report to `file`, and its page beside it; returns the page."""
    facts, page = proof_facts(proof), file.with_suffix(".html")
    _write(file, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    _write(page, _template().render(**facts, roles_seen=_by_role(facts["seen"]), counts=_counts(proof)))
    return page


def _write(file: Path, text: str) -> None:
    """A file that only this account reads: it tells who may see what."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{file.name}.tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(file)


def _by_role(seen: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each role sees; relations with the same provinces and columns stand together."""

    def alike(one: Mapping[str, Any]) -> tuple[Any, ...]:
        return one["provinces"], one["restricted_columns"]

    found = []
    for (role, kind), relations in groupby(seen, key=lambda one: (one["role"], one["kind"])):
        groups = [
            {"provinces": provinces, "columns": columns, "relations": [one["relation"] for one in same]}
            for (provinces, columns), same in groupby(sorted(relations, key=alike), key=alike)
        ]
        found.append({"role": role, "kind": kind, "groups": groups})
    return found


def _counts(proof: Proof) -> dict[str, int]:
    return {kind: proof.count(kind) for kind in ("leak", "drift", "unproven")}


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return pages.get_template("proof.html.j2")
