"""Runs the command line from tests: in this process for speed, or as a real process."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream_triage import cli
from stream_triage.spool import RunFile

__all__ = ["COMMAND", "Result", "call", "everything_kept", "kept_folder", "spawn", "spawned"]

COMMAND = [sys.executable, "-m", "stream_triage"]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document; fails when anything else is there."""
        return json.loads(self.out)

    @property
    def jsonl(self) -> list[Any]:
        """Standard output as one JSON document a line; U+2028 and the like are no line ends here."""
        return [json.loads(line) for line in self.out.split("\n")[:-1]]

    @property
    def notes(self) -> list[str]:
        """The lines of standard error."""
        return self.err.splitlines()


def call(*args: str | Path, stdin: bytes | io.RawIOBase = b"", env: Mapping[str, str] | None = None) -> Result:
    """`cli.main` in this process, with its streams and exit code caught."""
    given = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for name in ("stdout", "stderr")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stream-triage", *map(str, args)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(given))
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            cli.main()
    texts = []
    for stream in streams.values():
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Result(int(end.value.code or 0), *texts)


def spawn(*args: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
    """A real process, left running."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": _environment()} | options
    return subprocess.Popen([*COMMAND, *map(str, args)], **options)


def spawned(*args: str | Path, stdin: bytes = b"", **options: Any) -> Result:
    """A real process, run to its end."""
    options = {"capture_output": True, "timeout": 60, "check": False, "env": _environment()} | options
    done = subprocess.run([*COMMAND, *map(str, args)], input=stdin, **options)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def _environment() -> dict[str, str]:
    """Ours, but with the buffers that users have: what is printed may wait until the end."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def kept_folder() -> Path:
    """Where the commands keep what they keep."""
    return Path(os.environ["XDG_DATA_HOME"]) / "stream-triage"


def everything_kept() -> bytes:
    """All bytes below the data folder and its file names, with texts of the archive and rows of databases as text too."""
    parts = []
    for path in kept_folder().rglob("*"):
        parts.append(str(path.relative_to(kept_folder())).encode())
        if path.is_file():
            parts.append(path.read_bytes())
        if path.suffix == ".zst":
            with RunFile(path) as run:
                parts.append(run.run_id.encode())
                for source in run.sources():
                    parts += [source.encode(), *(line.encode() for line in run.read(source, 1, run.line_count(source)))]
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as database:
                parts += [statement.encode() for statement in database.iterdump()]
    return b"\n".join(parts)


class InterruptedPipe(io.RawIOBase):
    """Gives its parts, then Ctrl-C is pressed."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        if not self._parts:
            raise KeyboardInterrupt
        return self._parts.pop(0)
