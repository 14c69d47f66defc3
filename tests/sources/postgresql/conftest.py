"""A real PostgreSQL server that the tests start and stop; only its binaries must be there."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sources.postgresql.asking import PASSWORD, WRITTEN


def binaries():
    """The folder of the server's programs, of the newest version that is installed."""
    found = shutil.which("initdb")
    versions = [found] if found else Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(map(Path, versions), default=None, key=lambda path: path.parts)
    if not newest:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    return newest.resolve().parent


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server on a free loopback port, with a password: run(sql), and its URL."""
    pytest.importorskip(
        "adbc_driver_postgresql",
        reason="the driver is not installed: pip install adbc-driver-postgresql",
    )
    programs, home = binaries(), Path(tempfile.mkdtemp(prefix="mct-pg-"))
    who = {}
    # the server refuses to run as root
    if os.geteuid() == 0:
        names = {user.pw_name for user in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(home, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "password").write_text(PASSWORD)
    (home / "password").chmod(0o644)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"

    def server_command(*command):
        program, *arguments = command
        # a pipe would be held open by the server
        out = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        whole = [programs / program, "-D", home / "data", *arguments]
        subprocess.run(whole, check=True, cwd=home, timeout=60, **out, **who)

    try:
        how = ["-U", "analyst", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        server_command("initdb", *how, "--pwfile", home / "password")
        server_command("pg_ctl", "-w", "-o", options, "-l", home / "log", "start")
        url = f"postgresql://analyst:{WRITTEN}@127.0.0.1:{port}/postgres"

        def run(*statements):
            from adbc_driver_postgresql import dbapi

            with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

        yield SimpleNamespace(url=url, port=port, run=run)
    finally:
        if (home / "data/postmaster.pid").exists():
            server_command("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(home)


@pytest.fixture
def project(project, monkeypatch, server):
    """As the empty project of the other sources, with the URL in WAREHOUSE_URL."""
    monkeypatch.setenv("WAREHOUSE_URL", server.url)
    monkeypatch.setenv("MCT_SALT", "the same in both stores")
    return project
