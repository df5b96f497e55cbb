"""Commands about contracts: list, show, lint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl.cli.output import Json, console, open_site, print_json, print_table, say
from expectations.faults import Message, SetupFault

app = typer.Typer(help="Contracts: what each dataset must be. Hợp đồng dữ liệu.", no_args_is_help=True)


@app.command("list")
def list_contracts(as_json: Json = False) -> None:
    """All contracts. Danh sách hợp đồng."""
    site = open_site()
    rows = [
        {
            "dataset": c.dataset,
            "version": c.version,
            "label": c.label,
            "sender": c.sender,
            "periodicity": c.periodicity,
            "file_names": [p.text for p in c.file_names],
            "fields": len(c.fields),
            "rules": len(c.rules),
            "storage": c.storage,
            "file": str(c.file),
        }
        for c in site.contracts.values()
    ]
    if as_json:
        print_json(rows)
        return
    columns = ("dataset", "version", "label", "sender", "periodicity", "file names", "fields", "rules")
    print_table("Contracts · Hợp đồng", columns, [(r["dataset"], r["version"], r["label"], r["sender"], r["periodicity"], ", ".join(map(str, r["file_names"])) if isinstance(r["file_names"], list) else "", r["fields"], r["rules"]) for r in rows], right=("fields", "rules"))  # fmt: skip


@app.command("show")
def show_contract(dataset: str, as_json: Json = False) -> None:
    """The fields and rules of one dataset. Một hợp đồng."""
    site = open_site()
    contract = site.contracts.get(dataset)
    if contract is None:
        known = ", ".join(site.contracts)
        raise SetupFault(Message(f"Không có tập dữ liệu «{dataset}»; có: {known}.", f"There is no dataset '{dataset}'; there are {known}."))
    if as_json:
        print_json(
            {
                "dataset": contract.dataset,
                "version": contract.version,
                "label": contract.label,
                "purpose": contract.purpose,
                "sender": contract.sender,
                "periodicity": contract.periodicity,
                "tolerance": contract.tolerance,
                "fields": [
                    {"name": f.name, "label": f.label, "type": f.type, "required": f.required, "key": f.key, "classification": f.classification, "headers": f.headers}
                    for f in contract.fields
                ],
                "rules": [{"id": r.id, "expectation": r.expectation, "severity": r.severity, "vi": r.message.vi, "en": r.message.en} for r in contract.rules],
            }
        )  # fmt: skip
        return
    console().print(f"[bold]{contract.label}[/bold] ({contract.dataset} {contract.version})\n{contract.purpose}")
    print_table(
        "Fields · Các trường",
        ("name", "label", "type", "required", "key", "class", "measure", "found under"),
        [
            (f.name, f.label, f.type, "✓" if f.required else "", "" if f.key is None else str(f.key), f.classification, f.measure.unit if f.measure else "", " | ".join(f.headers))
            for f in contract.fields
        ],
    )  # fmt: skip
    print_table(
        "Rules · Các quy tắc", ("rule", "severity", "expectation", "message"), [(r.id, r.severity, r.expectation, f"{r.message.vi}\n{r.message.en}") for r in contract.rules]
    )  # fmt: skip


@app.command("lint")
def lint(
    files: Annotated[list[Path] | None, typer.Argument(help="Contract files; by default all of NDC_CONTRACTS.")] = None,
    as_json: Json = False,
) -> None:
    """Check contracts: the language, the code lists they name, and each rule with the engine. Soát hợp đồng."""
    from expectations.odcs import load_contract
    from expectations.validate import check_rules
    from warehouse.code_lists import check_code_list

    site = open_site()
    chosen = files or sorted(site.settings.contracts.glob("*.odcs.yaml"))
    faults, datasets = [], {}
    for file in chosen:
        try:
            contract = load_contract(file)
            for name in contract.code_lists:
                check_code_list(site.settings.reference, name)
            if contract.code_system and contract.code_system not in site.registry.code_systems:
                known = ", ".join(site.registry.code_systems)
                raise SetupFault(Message(f"{file}: không có hệ mã «{contract.code_system}»; có: {known}.", f"{file}: there is no code system '{contract.code_system}'; there are {known}."))  # fmt: skip
            check_rules(contract)
            datasets[contract.dataset] = file
        except SetupFault as fault:
            faults.append({"file": str(file), "vi": fault.message.vi, "en": fault.message.en})
    if as_json:
        print_json({"checked": len(chosen), "faults": faults})
    else:
        for found in faults:
            say(Message(found["vi"], found["en"]), to_errors=True)
        console().print(
            f"{len(chosen) - len(faults)} of {len(chosen)} contracts are right · {len(chosen) - len(faults)}/{len(chosen)} hợp đồng đúng"
        )
    if faults or not chosen:
        raise typer.Exit(3)
