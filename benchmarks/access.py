"""What row security costs: a province's and a nation's query through their policies beside the same query without any, also with
1,000 delegations live, and how long one changed delegation among them takes to apply while others read. Ratios of one run."""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from statistics import median

import psycopg
from sqlalchemy import URL, text

from benchmarks.place import NOW
from etl.cli.output import console, print_table
from etl.settings import ROOT, read_settings
from etl.site import Site
from warehouse.access.apply import apply_declaration
from warehouse.access.load import group_grantees, load_declaration
from warehouse.engine import Warehouse
from warehouse.migrate import migrate

PLACE = ROOT / ".bench" / "access"
MONTHS, DELEGATIONS, ROUNDS, PROVINCE = 24, 1_000, 25, "gia-lai-2025"
SUMS = "SELECT period, kind, count(*), sum(visits), avg(cost_vnd) FROM national.visits WHERE period >= '2025-07-01'"
GROUPS = " GROUP BY period, kind ORDER BY period, kind"
OWN = "province_id IN ('gia-lai-2025', 'gia-lai', 'binh-dinh')"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000, help="lines of a province and month (default 2000)")
    chosen = parser.parse_args()
    shutil.rmtree(PLACE, ignore_errors=True)
    site = _new_site()
    admin = site.logins.administrator()
    try:
        _declare(site, 0)
        site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())
        migrate(site.warehouse, site.contracts, site.registry, site.access)
        count = _fill(site, admin, chosen.rows)
        logins = _logins(admin)
        few = _compare(logins)
        console(to_errors=True).print(f"{DELEGATIONS:,} delegations …")
        seconds_all = _apply(site, _declare(site, DELEGATIONS))
        many = _compare(logins)
        seconds_one, idle, worst = _change_one(site, logins["centre"])
        _show(count, few, many)
        print(f"{DELEGATIONS:,} delegations are applied in {seconds_all:.1f} s, one changed among them in {seconds_one:.2f} s")
        print(f"the slowest of other readers' short queries meanwhile took {worst * 1000:.0f} ms, before that {idle * 1000:.0f} ms")
    finally:
        admin.dispose()
        site.warehouse.dispose()
        assert site.logins.server is not None
        site.logins.server.destroy()
        shutil.rmtree(PLACE, ignore_errors=True)


def _new_site() -> Site:
    contracts = ROOT / "benchmarks" / "access_contracts"
    return Site(read_settings({"NDC_HOME": str(PLACE / "home"), "NDC_CONTRACTS": str(contracts), "NDC_ACCESS": str(PLACE / "declared")}))


def _declare(site: Site, count: int, changed: int | None = None) -> None:
    """The default delegations, and `count` to an organisation each; `changed` has an end of its own."""
    folder = site.settings.access / "delegations"
    folder.mkdir(parents=True, exist_ok=True)
    default = (ROOT / "warehouse" / "access" / "delegations" / "centre.yaml").read_text()
    living = [p.province_id for p in site.registry.on(NOW.date())]
    entries = [
        f"  - {{id: bench-{n}, grantor: {living[n % 34]}, grantee: org-{n}, datasets: [visits], provinces: [{living[n % 34]}], from: 2026-01-01, "
        f"until: {2031 if n == changed else 2030}-12-31, purpose: p, legal_basis: l}}\n"
        for n in range(count)
    ]
    (folder / "centre.yaml").write_text(default + "".join(entries))
    names = "".join(f"  - {{id: org-{n}, name: Cơ quan {n}, province: {living[n % 34]}}}\n" for n in range(count))
    (site.settings.access / "organisations.yaml").write_text("organisations:\n" + names if names else "organisations: []\n")


def _fill(site: Site, admin: Warehouse, rows: int) -> int:
    """Lines of every living province in every month, as the loader would have them."""
    with site.warehouse.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO national.visits (province_id, period, delivery_id, line, visit_code, kind, visits, cost_vnd) "
                "SELECT p, (DATE '2024-09-01' + make_interval(months => m))::date, m, l, p || m || '-' || l, 'k' || l % 7, l % 100, l * 1.5 "
                "FROM unnest(CAST(:provinces AS text[])) p, generate_series(0, :months) m, generate_series(1, :rows) l"
            ),
            {"provinces": [p.province_id for p in site.registry.on(NOW.date())], "months": MONTHS - 1, "rows": rows},
        )
    with psycopg.connect(_plain(admin.url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        (count,) = connection.execute("SELECT count(*) FROM national.visits").fetchall()[0]
        return int(count)


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _logins(admin: Warehouse) -> Mapping[str, str]:
    """Addresses of a province's and a central login, and of the superuser, whom no policy concerns."""
    with admin.engine.begin() as connection:
        for name, role in (("bench_province", "ndc_province_" + PROVINCE.replace("-", "_")), ("bench_centre", "ndc_centre")):
            connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'only-for-the-benchmark' IN ROLE ndc_people, {role}"))
    people = {who: _plain(admin.url.set(username=f"bench_{who}", password="only-for-the-benchmark")) for who in ("province", "centre")}
    return {**people, "nobody's": _plain(admin.url)}


def _compare(logins: Mapping[str, str]) -> Mapping[str, float]:
    """Through the policy ÷ explicit condition and no policy, planning included, after the session's first query; medians, interleaved."""
    with (
        psycopg.connect(logins["province"], autocommit=True) as province,
        psycopg.connect(logins["centre"], autocommit=True) as centre,
        psycopg.connect(logins["nobody's"], autocommit=True) as free,
    ):
        for connection in (province, centre, free):
            connection.prepare_threshold = None
            connection.execute("SET max_parallel_workers_per_gather = 0")
        own, national = SUMS + GROUPS, SUMS + GROUPS
        explicit = f"{SUMS} AND {OWN}{GROUPS}"
        first = _seconds(lambda: province.execute(own.encode()).fetchall())
        assert province.execute(own.encode()).fetchall() == free.execute(explicit.encode()).fetchall()
        ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "province": (lambda: province.execute(own.encode()).fetchall(), lambda: free.execute(explicit.encode()).fetchall()),
            "nation": (lambda: centre.execute(national.encode()).fetchall(), lambda: free.execute(national.encode()).fetchall()),
        }
        found: dict[str, float] = {"first": first}
        for name, (through, without) in ways.items():
            through(), without()
            pairs = [(_seconds(through), _seconds(without)) for _ in range(ROUNDS)]
            found[name] = median(a for a, _ in pairs) / median(b for _, b in pairs)
            found[f"{name} ms"] = median(a for a, _ in pairs) * 1000
        return found


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _apply(site: Site, _: None = None) -> float:
    """Declared to live, files read and roles made included."""
    site.logins.prepare(group_grantees(site.access, site.registry), NOW.date())

    def work() -> None:
        with site.warehouse.transaction("ndc_owner") as connection:
            apply_declaration(connection, load_declaration(site.access, site.registry, site.contracts))

    return _seconds(work)


def _change_one(site: Site, centre: str) -> tuple[float, float, float]:
    """Seconds for one changed delegation among all, and the slowest short query of a reader before and during it."""
    waits: list[tuple[float, float]] = []
    stop = threading.Event()

    def read() -> None:
        with psycopg.connect(centre, autocommit=True) as connection:
            while not stop.is_set():
                started = time.perf_counter()
                connection.execute(
                    "SELECT sum(visits) FROM national.visits WHERE province_id = 'ha-noi' AND period = '2026-01-01'"
                ).fetchone()
                waits.append((started, time.perf_counter() - started))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(3)  # as long as this the readers are measured alone
    began = time.perf_counter()
    _declare(site, DELEGATIONS, changed=500)
    seconds = _apply(site)
    stop.set()
    for reader in readers:
        reader.join()
    return seconds, max(w for s, w in waits if s < began - 0.5), max(w for s, w in waits if s >= began - 0.5)


def _show(rows: int, few: Mapping[str, float], many: Mapping[str, float]) -> None:
    table = [
        (who, f"{few[who]:.2f}", f"{many[who]:.2f}", round(few[f"{who} ms"], 1), round(many[f"{who} ms"], 1))
        for who in ("province", "nation")
    ]
    columns = ("query of", "by default", f"with {DELEGATIONS:,} delegations", "ms by default", f"ms with {DELEGATIONS:,}")
    print_table(
        f"{rows:,} lines, 34 provinces, {MONTHS} months: time through the policies, without any = 1", columns, table, right=columns[1:]
    )
    print(
        f"first query of a session: {few['first'] * 1000:.0f} ms by default, {many['first'] * 1000:.0f} ms with {DELEGATIONS:,} delegations"
    )


if __name__ == "__main__":
    main()
