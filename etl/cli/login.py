"""A person's own login, for commands that run as somebody: its password comes from PGPASSWORD, or is asked for."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from expectations.faults import Message, SetupFault

if TYPE_CHECKING:
    from etl.site import Site
    from warehouse.engine import URL

Login = Annotated[str | None, typer.Option("--login", help="Your login; the password comes from PGPASSWORD, or is asked for.")]


def person_url(site: Site, login: str | None) -> URL:
    """The warehouse's address with a person's login. Raises `SetupFault` when nobody is there to tell the password."""
    if login is None:
        return site.logins.given_login()
    password = os.environ.get("PGPASSWORD")
    if password is None:
        if not sys.stdin.isatty():
            raise SetupFault(
                Message(f"Cần mật khẩu của {login}: đặt biến PGPASSWORD.", f"The password of {login} is needed: set PGPASSWORD."),
                rule="password",
            )
        password = getpass.getpass(f"{login}: ")
    return site.logins.person_url(login, password)
