"""Installations with delegations of a test's own, rows put in directly, and people with real logins."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, text

from etl.site import Site
from warehouse.access.apply import AccessPlan, apply_declaration, plan_access
from warehouse.access.grantees import people
from warehouse.access.load import load_declaration

ORGANISATIONS = """
organisations:
  - {id: health-north, name: Sở Y tế, province: gia-lai-2025}
  - {id: labour-north, name: Sở Nội vụ, province: gia-lai-2025}
  - {id: institute, name: Viện}
"""
OWN = """
  - {id: own-rows, grantee: each-province, provinces: own, datasets: all, columns: {in_clear: all}, from: 2024-08-08,
     may_redelegate: true, purpose: p, legal_basis: l}
  - {id: centre-all, grantee: centre, provinces: all, datasets: all, columns: {in_clear: none}, from: 2024-08-08, purpose: p, legal_basis: l}
"""
_numbers = itertools.count(1)


def write_access(folder: Path, delegations: str = "", *, own: str = OWN, organisations: str = ORGANISATIONS) -> Path:
    """The folder `access` of a test; `delegations` are entries of the centre's file."""
    (folder / "delegations").mkdir(parents=True, exist_ok=True)
    (folder / "organisations.yaml").write_text(organisations)
    (folder / "delegations" / "centre.yaml").write_text("delegations:" + own + delegations)
    return folder


def plan_site(site: Site) -> AccessPlan:
    with site.warehouse.transaction("ndc_owner") as connection:
        return plan_access(connection, load_declaration(site.access, site.registry, site.contracts, people(connection)))


def apply_site(site: Site, actor: str | None = None) -> AccessPlan:
    with site.warehouse.transaction("ndc_owner") as connection:
        declaration = load_declaration(site.access, site.registry, site.contracts, people(connection))
        return apply_declaration(connection, declaration, actor)


def put_rows(site: Site, dataset: str, rows: list[dict[str, Any]]) -> None:
    """Rows of national.<dataset>, as the loader; what is not said is filled in."""
    with site.warehouse.transaction() as connection:
        for line, row in enumerate(rows):
            values = {"delivery_id": 1, "line": line + 1, "period": "2025-07-01", **row}
            names = ", ".join(values)
            connection.execute(text(f"INSERT INTO national.{dataset} ({names}) VALUES ({', '.join(':' + n for n in values)})"), values)


def new_person(site: Site, *grantees: str) -> URL:
    """A person with a login, a member of the roles of some grantees; returns the address to connect with."""
    name = f"person{next(_numbers)}_{site.warehouse.url.database}"
    admin = site.logins.administrator()
    with admin.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN INHERIT PASSWORD 'secret'"))
        connection.execute(text(f"GRANT ndc_people TO {name}"))
        for grantee in grantees:
            role = connection.execute(text("SELECT role FROM control.grantee WHERE id = :id"), {"id": grantee}).scalar_one()
            connection.execute(text(f"GRANT {role} TO {name}"))
        connection.execute(text("SET LOCAL ROLE ndc_owner"))
        connection.execute(
            text(
                "INSERT INTO control.grantee (id, role, kind, name) VALUES (CAST(:n AS text), CAST(CAST(:n AS text) AS name), 'person', CAST(:n AS text))"
            ),
            {"n": name},
        )
        for grantee in grantees:
            connection.execute(text("INSERT INTO control.membership (person, grantee) VALUES (:n, :g)"), {"n": name, "g": grantee})
    admin.dispose()
    return site.warehouse.url.set(username=name, password="secret")


def rows_as(url: URL, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a query with somebody's own login."""
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        return connection.execute(sql.encode(), values or None).fetchall()
