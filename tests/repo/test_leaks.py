"""A test that leaves something running behind fails."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEAKY = """
import socket, sqlite3, subprocess, sys, threading
import pytest
from tests import leaks

leaks.GRACE = 0.2
kept = []

@pytest.fixture(scope="module")
def server():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    with socket.create_server(("127.0.0.1", 0)):
        yield

def test_that_uses_what_a_fixture_of_its_module_keeps(server):
    pass

def test_that_leaves_nothing():
    thread = threading.Thread(target=int)
    thread.start()
    subprocess.run(["true"])
    sqlite3.connect(":memory:").close()
    with socket.create_server(("127.0.0.1", 0)):
        thread.join()

def test_that_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()

def test_that_leaves_a_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input('left')"], stdin=subprocess.PIPE))

def test_that_leaves_a_zombie():
    process = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    process.stdout.read()
    process.returncode = 0  # so that nobody waits for it

def test_that_leaves_a_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_that_leaves_a_file():
    sqlite3.connect(":memory:")
"""


def test_a_test_that_leaves_a_thread_a_process_a_listening_socket_or_an_open_file_of_sqlite_fails(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    options = ["-p", "tests.leaks", "-p", "no:cacheprovider", "-c", str(tmp_path / "pytest.ini")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_leaky.py")],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "7 passed, 5 errors" in done.stdout, done.stdout + done.stderr
    for left in ("a_thread", "a_child", "a_zombie", "a_socket", "a_file"):
        assert f"ERROR at teardown of test_that_leaves_{left}" in done.stdout, done.stdout
