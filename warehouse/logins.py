"""Who logs in to the warehouse, and with which password.

Answers for: the embedded server is started when it is needed; the pipeline logs in as `ndc_service`, which owns nothing and
bypasses nothing; tasks of the scheduler as `ndc_task`, which can become `ndc_loader` and nobody else; analysts at the centre as
`ndc_analyst`. Passwords are random, in files that only this account can read.
Refuses: handing the pipeline a superuser's connection; that one is for `prepare` alone, and never for a task.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.faults import Message, SetupFault
from warehouse.embedded import Server
from warehouse.engine import Warehouse

if TYPE_CHECKING:
    from sqlalchemy import URL

    from warehouse.access.grantees import Grantee

SERVICE, TASK, ANALYST = "ndc_service", "ndc_task", "ndc_analyst"
SCHEDULER = "airflow"
PIPELINE_GROUPS: Mapping[str, tuple[str, ...]] = {SERVICE: ("ndc_owner", "ndc_loader"), TASK: ("ndc_loader",)}
"""What the pipeline's own logins may become."""

_IS_TASK = Message(
    "NDC_LOGIN=task: tác vụ chỉ nạp dữ liệu, không làm quản trị. Hãy chạy lệnh này với NDC_LOGIN=service.",
    "NDC_LOGIN=task: tasks load data and administer nothing. Run this with NDC_LOGIN=service.",
)


class Logins:
    """The logins of one installation: of the server behind `url`, or of the embedded one under `home`. A task's are without the
    administrator's."""

    def __init__(self, home: Path, url: str | None, server_settings: Mapping[str, str], *, is_task: bool = False) -> None:
        self._home, self._url, self._is_task = home, url, is_task
        self.server = None if url else Server(home, settings=server_settings)

    def prepare(self, grantees: Iterable[Grantee] = (), day: date = date.max) -> None:
        """Have a server, the roles, those of `grantees` that live on `day` or later, the schemas and, on the embedded server, the
        logins of pipeline, tasks and analysts. Safe to repeat."""
        from warehouse.migrate import prepare_roles
        from warehouse.roles import ensure_login

        admin = self.administrator()
        try:
            prepare_roles(admin, grantees, day)
            if self.server:
                with admin.engine.begin() as connection:
                    for name, groups in PIPELINE_GROUPS.items():
                        ensure_login(connection, name, self._password(name, make=True), groups, inherits=False)
                    ensure_login(connection, ANALYST, self._password(ANALYST, make=True), ("ndc_centre",), inherits=True)
        finally:
            admin.dispose()

    def pipeline(self) -> Warehouse:
        """The warehouse as the pipeline sees it. Raises `SetupFault` when `prepare` was never run."""
        if self.server is None:
            return Warehouse(self._given)
        return Warehouse(self._login(SERVICE))

    def task(self) -> Warehouse:
        """The warehouse as a task sees it: it can become `ndc_loader` alone. On an external server that is for the login in
        NDC_WAREHOUSE_URL to say. Raises `SetupFault` when `prepare` was never run."""
        if self.server is None:
            return Warehouse(self._given)
        return Warehouse(self._login(TASK))

    def analyst_url(self) -> URL:
        """The login of an analyst at the centre, in a form that every client understands."""
        if self.server is None:
            raise SetupFault(
                Message(
                    "Máy chủ ngoài: hãy dùng tài khoản của chính bạn, do ndc people add tạo: ndc sql --login TÊN",
                    "External server: use your own login, made by ndc people add: ndc sql --login NAME",
                ),
                rule="login",
            )
        return self._login(ANALYST).set(query={})

    def person_url(self, name: str, password: str | None) -> URL:
        """The warehouse's address with the login of a person; with None it holds no password, for showing it to others."""
        if self.server is None:
            return self._given.set(username=name)._replace(password=password)
        self.server.start()
        return self.server.superuser_url().set(username=name, query={})._replace(password=password)

    def given_login(self) -> URL:
        """The login that stands in NDC_WAREHOUSE_URL. Raises `SetupFault` where there is none."""
        if self.server is None:
            return self._given
        raise SetupFault(Message("Hãy nói tài khoản của bạn: --login TÊN", "Say which login is yours: --login NAME"), rule="password")

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

    def administrator(self) -> Warehouse:
        """The login that may create roles: the embedded server's superuser, or the one in the settings. Dispose of it soon.

        Raises `SetupFault` for a task.
        """
        if self._is_task:
            raise SetupFault(_IS_TASK, rule="task-login")
        if self.server is None:
            return Warehouse(self._given)
        self.server.start()
        return Warehouse(self.server.superuser_url())

    def scheduler_url(self) -> URL:
        """The scheduler's own database on the embedded server, made when it is first asked for; its login reaches no other."""
        from warehouse.roles import ensure_database

        assert self.server is not None
        password = self._password(SCHEDULER, make=True)
        admin = self.administrator()
        try:
            ensure_database(admin.engine, SCHEDULER, password)
        finally:
            admin.dispose()
        return self.server.superuser_url(SCHEDULER).set(username=SCHEDULER, password=password, query={})

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
