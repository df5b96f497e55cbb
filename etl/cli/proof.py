"""The command `ndc access prove`: the catalogue and every role's real sight examined, and a report that an auditor can keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, say
from expectations.faults import Message

if TYPE_CHECKING:
    from warehouse.access.findings import Proof

_SHOWN = 50
_WORDS = {"leak": Message("RÒ RỈ", "LEAK"), "drift": Message("SAI KHÁC", "DRIFT"), "unproven": Message("CHƯA CHỨNG MINH", "NOT PROVEN")}


def add_to(access: typer.Typer) -> None:
    access.command()(prove)


def prove(
    out: Annotated[
        Path | None, typer.Option("--out", help="The report; default: <home>/access/proof-<time>.json. A page lies beside it.")
    ] = None,
    catalogue_only: Annotated[bool, typer.Option("--catalogue-only", help="Without trying what each role sees.")] = False,
    as_json: Json = False,
) -> None:
    """Prove that every role and login sees what is delegated to it, and no more; exit code 1 when not. Chứng minh ai thấy gì."""
    from etl.proof import default_name, proof_facts, write_proof
    from etl.upkeep import check_access

    site = open_site()
    proof = check_access(site, is_live=not catalogue_only)
    file = out or site.settings.home / "access" / default_name(proof)
    page = write_proof(proof, file)
    if as_json:
        print_json(proof_facts(proof))
    else:
        _show(proof, file, page)
    if not proof.is_clean:
        raise typer.Exit(1)


def _show(proof: Proof, file: Path, page: Path) -> None:
    rows = [("✓" if not c.broken else f"✗ {c.broken}", c.meaning.vi, c.meaning.en) for c in proof.checks]
    print_table(f"{len(proof.roles)} roles · vai trò, PostgreSQL {proof.server}", ("", "điều phải đúng", "what must hold"), rows)
    for finding in proof.findings[:_SHOWN]:
        word = _WORDS[finding.kind]
        say(Message(f"✗ {word.vi}: {finding.message.vi}", f"  {word.en}: {finding.message.en}"))
    if len(proof.findings) > _SHOWN:
        console().print(f"… {len(proof.findings) - _SHOWN} more in the report · còn nữa trong báo cáo")
    if proof.is_clean and proof.is_live:
        verdict = Message(
            "✓ Đã chứng minh: mỗi vai trò chỉ thấy những gì được giao.", "Proven: each role sees what is given to it, and no more."
        )
    elif proof.is_clean:
        verdict = Message(
            "✓ Danh mục của máy chủ không sai; chưa thử từng vai trò.", "The server's catalogue is in order; no role was tried."
        )
    else:
        verdict = Message("✗ Chưa chứng minh được.", "Not proven.")
    say(verdict)
    console().print(f"{file}\n{page}", markup=False, soft_wrap=True)
