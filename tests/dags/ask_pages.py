"""Asks Airflow's web server, in this process, for pages: `ask_pages.py <path>…`; each without a login and with one. Prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow.api_fastapi.app import create_app
from airflow.configuration import conf
from fastapi.testclient import TestClient


def main(*paths: str) -> None:
    Path(conf.get("core", "simple_auth_manager_passwords_file")).write_text(json.dumps({"operator": "secret"}))
    with TestClient(create_app()) as client:
        token = client.post("/auth/token", json={"username": "operator", "password": "secret"}).json()["access_token"]
        client.cookies.clear()
        found = {}
        for path in paths:
            without = client.get(path, follow_redirects=False)
            bearer = client.get(path, headers={"Authorization": f"Bearer {token}"})
            by_cookie = client.get(path, headers={"Cookie": f"_token={token}"})
            found[path] = {
                "without": [without.status_code, without.text],
                "bearer": [bearer.status_code, bearer.text],
                "cookie": [by_cookie.status_code, by_cookie.text == bearer.text],
                "headers": dict(bearer.headers),
            }
        plugins = client.get("/api/v2/plugins", headers={"Authorization": f"Bearer {token}"}).json()
    views = [view["href"] for plugin in plugins["plugins"] for view in plugin["external_views"]]
    sys.stdout.write("RESULT " + json.dumps({"pages": found, "views": views}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
