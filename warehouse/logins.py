"""Who logs in to the warehouse, and with which password.

Answers for: the embedded server is started when it is needed; the pipeline logs in as `ndc_service`, which owns nothing and
bypasses nothing; analysts at the centre as `ndc_analyst`. Passwords are random, in files that only this account can read.
Refuses: handing the pipeline a superuser's connection; that one is for `prepare` alone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.faults import Message, SetupFault
from warehouse.embedded import Server
from warehouse.engine import Warehouse

if TYPE_CHECKING:
    from sqlalchemy import URL

SERVICE, ANALYST = "ndc_service", "ndc_analyst"


class Logins:
    """The logins of one installation: of the server behind `url`, or of the embedded one under `home`."""

    def __init__(self, home: Path, url: str | None, server_settings: Mapping[str, str]) -> None:
        self._home, self._url = home, url
        self.server = None if url else Server(home, settings=server_settings)

    def prepare(self) -> None:
        """Have a server, the roles, the schemas and, on the embedded server, the two logins. Safe to repeat."""
        from warehouse.migrate import prepare_roles
        from warehouse.roles import ensure_login

        admin = self._admin()
        try:
            prepare_roles(admin)
            if self.server:
                with admin.engine.begin() as connection:
                    ensure_login(connection, SERVICE, self._password(SERVICE, make=True), ("ndc_owner", "ndc_loader"), inherits=False)
                    ensure_login(connection, ANALYST, self._password(ANALYST, make=True), ("ndc_centre",), inherits=True)
        finally:
            admin.dispose()

    def pipeline(self) -> Warehouse:
        """The warehouse as the pipeline sees it. Raises `SetupFault` when `prepare` was never run."""
        if self.server is None:
            return Warehouse(self._given)
        url = self._login(SERVICE)
        return Warehouse(url)

    def analyst_url(self) -> URL:
        """The login of an analyst at the centre, in a form that every client understands."""
        if self.server is None:
            raise SetupFault(
                Message(
                    "Máy chủ ngoài: hãy dùng tài khoản đăng nhập của chính bạn, là thành viên của ndc_centre.",
                    "External server: use your own login, a member of ndc_centre.",
                )
            )
        return self._login(ANALYST).set(query={})

    @cached_property
    def _given(self) -> URL:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            return make_url(self._url or "").set(drivername="postgresql+psycopg")
        except ArgumentError as error:
            raise SetupFault(
                Message(
                    "NDC_WAREHOUSE_URL không đọc được; viết: postgresql://người_dùng:mật_khẩu@máy/cơ_sở_dữ_liệu",
                    "NDC_WAREHOUSE_URL is not readable; write postgresql://user:password@host/database",
                ),
                rule="setting",
            ) from error

    def _admin(self) -> Warehouse:
        if self.server is None:
            return Warehouse(self._given)
        self.server.start()
        return Warehouse(self.server.superuser_url())

    def _login(self, name: str) -> URL:
        assert self.server is not None
        password = self._password(name, make=False)
        self.server.start()
        return self.server.superuser_url().set(username=name, password=password)

    def _password(self, name: str, *, make: bool) -> str:
        file = self._home / "secrets" / name
        if not file.exists():
            if not make:
                raise SetupFault(
                    Message("Kho dữ liệu chưa được khởi tạo; hãy chạy: ndc migrate", "The warehouse is not set up yet; run: ndc migrate"),
                    rule="not-migrated",
                )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.parent.chmod(0o700)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_urlsafe(24))
        return file.read_text()
