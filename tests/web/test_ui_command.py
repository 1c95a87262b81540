"""The command `ui` as a real process, and the request that tells of changes."""

import re
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream_triage.sinks.sqlite import SqliteStore
from tests.commands import call, kept_folder, spawn
from tests.corpus import whole_run
from tests.verdicts import make_verdict
from tests.web.browsing import shown_runs

PATIENCE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Each test works in an empty folder, with the tiny bundle."""


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, object]]:
    """The command, and the address that it named."""
    process = spawn("ui", "--listen", "127.0.0.1:0", *options)
    try:
        said = ""
        while not (found := re.search(r"http://[\d.:]+", said)):
            line = process.stderr.readline().decode()
            assert line, said
            said += line
        yield found[0], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
        return answer.read().decode()


def test_serves_what_run_has_stored(write):
    """The address is on stderr; runs are there at once, and Ctrl-C ends it with 0."""
    write("a.log", whole_run("L3", 2))
    call("run", "a.log")
    with serving() as (address, process):
        (run_id,) = shown_runs(get(f"{address}/runs"))
        assert run_id.startswith("a.log#")
        assert "L3" in get(f"{address}/run?id=a.log")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stdout.read() == b""


def test_begins_without_a_store_and_tells_of_changes(write):
    """A browser is told of the first verdict and of each later one, within two seconds."""
    write("a.log", whole_run())
    with serving() as (address, _), urllib.request.urlopen(f"{address}/events", timeout=PATIENCE_SECONDS) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert event(stream) == ("state", "none")
        assert call("run", "a.log").code == 0
        assert event(stream)[0] == "stored"
        with SqliteStore(kept_folder() / "verdicts.sqlite") as store:
            store.write(make_verdict("b"))
            store.flush()
            begun = time.monotonic()
            assert event(stream)[0] == "stored"
            assert time.monotonic() - begun < 2
        assert len(shown_runs(get(f"{address}/runs"))) == 2


def event(stream) -> tuple[str, str]:
    """The next event: its name and its data."""
    name = data = ""
    while True:
        line = stream.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and name:
            return name, data


def test_ends_while_browsers_listen():
    """Nobody waits for requests that never end."""
    with serving() as (address, process), urllib.request.urlopen(f"{address}/events", timeout=PATIENCE_SECONDS) as stream:
        event(stream)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) in {0, -signal.SIGTERM}
        assert process.stderr.read() == b""


def test_an_address_in_use_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = call("ui", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.code == 2
    assert "another program listens there; set ui.listen to another address" in result.err


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("0.0.0.0:8777", "listen names an address that other machines reach; set password, too"),
        ("8777", "is not of the form HOST:PORT"),
        ("127.0.0.1:99999", "is not of the form HOST:PORT"),
        ("192.0.2.1:0", "set password"),
        ("[zz]:1", "is not of the form HOST:PORT"),
    ],
)
def test_addresses_that_cannot_be_used(listen, words):
    result = call("ui", "--listen", listen)
    assert result.code == 2
    assert words in result.err


def test_a_store_that_cannot_be_used_ends_it():
    """What no waiting mends is said at once, not on a page."""
    kept_folder().mkdir(parents=True)
    (kept_folder() / "verdicts.sqlite").write_text("my notes")
    result = call("ui", "--listen", "127.0.0.1:0")
    assert result.code == 2
    assert "is no SQLite database" in result.err
