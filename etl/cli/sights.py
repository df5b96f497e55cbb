"""The same query with four logins, at the end of the demonstration: the centre, two provinces, and a department of one of them."""

from __future__ import annotations

import getpass
import os
import secrets
from typing import TYPE_CHECKING

from etl.cli.output import console, print_table, shown
from expectations.faults import Message, SetupFault

if TYPE_CHECKING:
    from etl.site import Site
    from expectations.contract import Contract
    from warehouse.access.grantees import Grantee

_COMMUNES = 3


def show_sights(site: Site) -> None:
    """Make the logins, let the province give a part on with its own, and ask all four. Nothing where no dataset tells communes."""
    from warehouse.access.load import group_grantees

    contract = next((c for c in site.contracts.values() if c.sender == "each-province" and c.commune_field), None)
    department = next((g for g in group_grantees(site.access, site.registry) if g.kind == "organisation" and g.province_id), None)
    if contract is None or department is None or site.logins.server is None:
        return
    provinces = _two_provinces(site, contract, department.province_id or "")
    groups = {group: _login(site, group) for group in ("centre", *provinces, department.id)}
    _give_on(site, contract, department, groups[provinces[0]])
    query = f"SELECT count(*) FROM national.{contract.dataset}"
    rows = [(_name(site, department, group), login, _ask(site, login, query)) for group, login in groups.items()]
    console().print(f"\n[bold]The same query, four logins · Một truy vấn, bốn tài khoản[/bold]: {query}")
    print_table("", ("who · ai", "login", "count"), rows, right=("count",))
    login = groups[department.id]
    command = f'PGPASSWORD=$(cat {site.settings.home / "secrets" / login}) {shown("ndc")} sql --login {login} "{query}"'
    console().print(f"  {command}", markup=False, soft_wrap=True)
    console().print(f"  {shown('ndc')} access who --dataset {contract.dataset} --province {provinces[0]}", markup=False)
    console().print(f"  {shown('ndc')} access prove", markup=False)


def _two_provinces(site: Site, contract: Contract, first: str) -> tuple[str, str]:
    """The department's province, and the living one that has most rows beside it."""
    rows = _ask_all(site, f"SELECT province_id, count(*) FROM national.{contract.dataset} GROUP BY 1 ORDER BY 2 DESC, 1")
    living = [p for p, _ in rows if p != first and not site.registry.successor_chain(p)]
    return first, living[0] if living else next(p for p in site.registry.ids if p != first and not site.registry.successor_chain(p))


def _ask_all(site: Site, query: str) -> list[tuple[str, int]]:
    from warehouse.query import query_rows

    return [(row[0], row[1]) for row in query_rows(site.logins.analyst_url(), query)[1]]


def _login(site: Site, group: str) -> str:
    """A login of the demonstration for a group; its password lies with the others of this home, made when it is needed first."""
    from warehouse.access.people import NewPerson, add_person

    login = f"demo_{group.replace('-', '_')}"[:31]
    file = site.settings.home / "secrets" / login
    if not file.exists():
        password = secrets.token_urlsafe(18)
        admin = site.logins.administrator()
        try:
            add_person(admin, NewPerson(login, (group,)), password, getpass.getuser(), site.settings.timezone)
        finally:
            admin.dispose()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(password)
    return login


def _give_on(site: Site, contract: Contract, department: Grantee, login: str) -> None:
    """The province lets its department see three communes, once."""
    from warehouse.access.delegate import Grant, grant, own_delegations

    url = site.logins.person_url(login, _password(site, login))
    if any(d["grantee"] == department.id and d["revoked_at"] is None for d in own_delegations(url)):
        return
    where = f"{contract.commune_field} IS NOT NULL AND province_id = '{department.province_id}'"
    rows = _ask_all(
        site, f"SELECT {contract.commune_field}, count(*) FROM national.{contract.dataset} WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    communes = tuple(commune for commune, _ in rows[:_COMMUNES])
    if not communes:
        return
    said = Message("Trình diễn phân quyền lại", "Demonstration of re-delegation")
    wanted = Grant(department.id, said.vi, "ndc demo", (contract.dataset,), (department.province_id or "",), communes, name="demo")
    grant(url, wanted, site.settings.timezone)


def _password(site: Site, login: str) -> str:
    file = site.settings.home / "secrets" / login
    if not file.exists():
        raise SetupFault(Message(f"Không có mật khẩu của {login}.", f"There is no password of {login}."), rule="password")
    return file.read_text()


def _ask(site: Site, login: str, query: str) -> int:
    from warehouse.query import query_rows

    return int(query_rows(site.logins.person_url(login, _password(site, login)), query)[1][0][0])


def _name(site: Site, department: Grantee, group: str) -> str:
    if group == department.id:
        return f"{department.name}: {_COMMUNES} communes given on · {_COMMUNES} xã được giao lại"
    return site.registry.get(group).full_name if site.registry.exists(group) else "Trung tâm · the centre"
