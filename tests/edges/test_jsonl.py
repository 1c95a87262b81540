"""Verdicts as lines of JSON, to a stream and to a file."""

import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import Verdict
from stream_triage.sinks.jsonl import JsonlSink
from tests.edges.contract import FailureContract, SinkContract
from tests.limits import file_size_limit
from tests.verdicts import kept, make_verdict


def _counting(lines: str) -> list[tuple[str, int]]:
    """By the reader's rule: the highest version of a run counts, in the order of the runs."""
    versions: dict[str, int] = {}
    for line in lines.splitlines():
        verdict = Verdict.model_validate_json(line)
        versions[verdict.run_id] = max(verdict.version, versions.get(verdict.run_id, 0))
    return list(versions.items())


class FullStream(io.StringIO):
    """A text stream on a disk that can be full."""

    full = False

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestFile(SinkContract, FailureContract):
    @pytest.fixture(autouse=True)
    def _target(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.path = tmp_path / "verdicts.jsonl"

    def open_sink(self) -> JsonlSink:
        return JsonlSink(self.path)

    def counting(self) -> list[tuple[str, int]]:
        return _counting(self.path.read_text())

    @contextmanager
    def failing(self) -> Iterator[None]:
        with file_size_limit(self.path.stat().st_size):
            yield


class TestStream(SinkContract, FailureContract):
    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.clock = FakeClock()
        self.stream = FullStream()

    def open_sink(self) -> JsonlSink:
        return JsonlSink(self.stream)

    def counting(self) -> list[tuple[str, int]]:
        return _counting(self.stream.getvalue())

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.stream.full = True
        yield
        self.stream.full = False

    def test_keeps_what_it_could_not_write(self, sink: JsonlSink) -> None:
        """How much of a line got out is unknown: it is written again whole, and readers skip the repeat."""
        with self.failing():
            self.give(sink, make_verdict("a"))
            with pytest.raises(StoreError, match="No space left"):
                sink.flush()
        sink.flush()
        assert self.counting() == [("a", 201)]


def test_a_line_is_the_whole_verdict() -> None:
    """A line can be read back as the same verdict, and has all fields, also empty ones."""
    stream = io.StringIO()
    verdict = make_verdict(reduction=kept("line\u2028with\x85breaks"))
    with JsonlSink(stream) as sink:
        sink.write(verdict)
    assert stream.getvalue().count("\n") == 1
    assert Verdict.model_validate_json(stream.getvalue()) == verdict
    assert set(json.loads(stream.getvalue())) == set(Verdict.model_fields)
    assert not stream.closed


def test_nothing_before_flush(tmp_path: Path) -> None:
    """A file contains what was flushed, and only its owner can read it."""
    path = tmp_path / "v.jsonl"
    with JsonlSink(path) as sink:
        sink.write(make_verdict())
        assert path.read_bytes() == b""
        sink.flush()
        assert path.read_bytes().endswith(b"\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_full_device() -> None:
    """A full device raises an error with the remedy; closing raises it again and closes."""
    sink = JsonlSink(Path("/dev/full"))
    sink.write(make_verdict())
    with pytest.raises(StoreError, match=r"/dev/full: No space left .* free space"):
        sink.flush()
    with pytest.raises(StoreError):
        sink.close()
    sink.close()


def test_continues_where_a_full_disk_stopped_it(tmp_path: Path) -> None:
    """When there is space again, the next flush completes the line that was cut."""
    path = tmp_path / "v.jsonl"
    verdicts = [make_verdict(str(number)) for number in range(10)]
    with JsonlSink(path) as sink:
        for verdict in verdicts:
            sink.write(verdict)
        with file_size_limit(1_000), pytest.raises(StoreError):
            sink.flush()
        assert path.stat().st_size == 1_000
        sink.flush()
    assert [Verdict.model_validate_json(line) for line in path.read_text().splitlines()] == verdicts


def test_reader_that_has_gone() -> None:
    """A broken pipe is raised once; closing then has nothing to write."""
    reading, writing = os.pipe()
    os.close(reading)
    sink = JsonlSink(Path(f"/dev/fd/{writing}"))
    sink.write(make_verdict())
    with pytest.raises(BrokenPipeError):
        sink.flush()
    sink.close()
    os.close(writing)


def test_incomplete_line_of_a_crash(tmp_path: Path) -> None:
    """The next verdict starts a new line."""
    path = tmp_path / "v.jsonl"
    path.write_text('{"run_id": "cut')
    with JsonlSink(path) as sink:
        sink.write(make_verdict("whole"))
    assert Verdict.model_validate_json(path.read_text().splitlines()[1]).run_id == "whole"


def test_path_that_cannot_be_opened(tmp_path: Path) -> None:
    """The error names a path that is a folder."""
    with pytest.raises(StoreError, match=f"{tmp_path} cannot be opened: Is a directory"):
        JsonlSink(tmp_path)
