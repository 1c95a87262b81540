"""Which exit status an error gets: 2 says "mend something", 75 says "start again"."""

import errno
import os
import re
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream_triage.cli import app, exits
from stream_triage.clients.search import ResponseError
from stream_triage.errors import BundleError, InputError, RunNotFound, ServerAway, SettingsError, StoreError

PAGE = Path(__file__).parents[1] / "docs" / "deployment.md"


def caused(cause: BaseException, *, hidden: bool = False) -> StoreError:
    """An error of ours that was raised for this one."""
    try:
        try:
            raise cause
        except type(cause):
            if hidden:
                raise StoreError("text") from None
            raise StoreError("text") from cause
    except StoreError as error:
        return error


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("text"), 2),
        (BundleError("text"), 2),
        (InputError("text"), 2),
        (RunNotFound("text"), 2),
        (StoreError("no right"), 2),
        (caused(OSError(errno.EACCES, "")), 2),
        (caused(OSError(errno.EROFS, "")), 2),
        (caused(sqlite_error(sqlite3.SQLITE_READONLY)), 2),
        (ResponseError("wrong password", 401), 2),
        (ResponseError("no right", 403), 2),
        (ServerAway("text"), 75),
        (caused(ServerAway("text")), 75),
        (caused(caused(OSError(errno.ENOSPC, ""))), 75),
        (caused(OSError(errno.ENOSPC, ""), hidden=True), 75),
        (caused(sqlite_error(sqlite3.SQLITE_FULL)), 75),
        (caused(sqlite_error(sqlite3.SQLITE_BUSY)), 75),
        (ResponseError("no response"), 75),
        (ResponseError("too busy", 429), 75),
        (ResponseError("out of order", 503), 75),
    ],
)
def test_status_of_an_error(error: StoreError, status: int) -> None:
    assert exits.status_of(error) == status


def test_run_keeps_its_documented_status() -> None:
    """What could not be stored is 2 for `run`, also if the server is only away."""
    with pytest.raises(SystemExit) as end, exits.storage_is_input():
        raise ServerAway("away")
    assert end.value.code == 2


def test_check_tells_a_server_that_is_away_from_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault that somebody must mend outranks it."""

    def away(settings: object) -> str:
        raise ServerAway("away")

    def wrong(settings: object) -> str:
        raise SettingsError("wrong")

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("stream_triage.cli.check._check_kafka", away)
    assert CliRunner().invoke(app, ["check", "--servers"]).exit_code == 75
    monkeypatch.setattr("stream_triage.cli.check._check_redaction", wrong)
    assert CliRunner().invoke(app, ["check", "--servers"]).exit_code == 2


def test_the_page_lists_the_statuses() -> None:
    """docs/deployment.md has those of cli/exits.py, and the unit restarts after each but 0 and 2."""
    of_code = set(re.findall(r"^\| (\d+) \|", exits.__doc__ or "", re.MULTILINE))
    of_page = set(re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE))
    assert of_code == {"0", "1", "2", "3", "75", "130"}
    assert of_page >= of_code - {"1"}
    assert os.EX_TEMPFAIL == 75
    unit = (PAGE.parent / "stream-triage.service").read_text()
    assert "Restart=on-failure\n" in unit
    assert "RestartPreventExitStatus=2\n" in unit
    assert "StartLimitIntervalSec=0\n" in unit
