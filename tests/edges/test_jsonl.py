"""One verdict a line, to a stream and to a file."""

import errno
import io
import json
import os
import stat
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import Verdict
from stream_triage.sinks.jsonl import JsonlSink
from tests.edges.contract import SinkContract
from tests.limits import file_size_limit
from tests.verdicts import kept, make_verdict


def _counting(lines: str) -> list[tuple[str, int]]:
    """By the reader's rule: the highest version of a run counts, in the order of the runs."""
    versions: dict[str, int] = {}
    for line in lines.splitlines():
        verdict = Verdict.model_validate_json(line)
        versions[verdict.run_id] = max(verdict.version, versions.get(verdict.run_id, 0))
    return list(versions.items())


class TestFile(SinkContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.path = tmp_path / "verdicts.jsonl"

    def open_sink(self) -> JsonlSink:
        return JsonlSink(self.path)

    def counting(self) -> list[tuple[str, int]]:
        return _counting(self.path.read_text())


class TestStream(SinkContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.clock = FakeClock()
        self.stream = io.StringIO()

    def open_sink(self) -> JsonlSink:
        return JsonlSink(self.stream)

    def counting(self) -> list[tuple[str, int]]:
        return _counting(self.stream.getvalue())


def test_a_line_is_the_whole_verdict() -> None:
    """The line reads back as the same verdict, and has all fields, empty ones too."""
    stream = io.StringIO()
    verdict = make_verdict(reduction=kept("line\u2028with\x85breaks"))
    with JsonlSink(stream) as sink:
        sink.write(verdict)
    assert stream.getvalue().count("\n") == 1
    assert Verdict.model_validate_json(stream.getvalue()) == verdict
    assert set(json.loads(stream.getvalue())) == set(Verdict.model_fields)
    assert not stream.closed


def test_nothing_before_flush(tmp_path: Path) -> None:
    """A file shows what was flushed, and is its owner's only."""
    path = tmp_path / "v.jsonl"
    with JsonlSink(path) as sink:
        sink.write(make_verdict())
        assert path.read_bytes() == b""
        sink.flush()
        assert path.read_bytes().endswith(b"\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_full_device() -> None:
    """No room raises an error that says what to do; closing says it again and lets go."""
    sink = JsonlSink(Path("/dev/full"))
    sink.write(make_verdict())
    with pytest.raises(StoreError, match=r"/dev/full: No space left .* free space"):
        sink.flush()
    with pytest.raises(StoreError):
        sink.close()
    sink.close()


def test_full_stream() -> None:
    """A stream without room raises the same error, and the verdict is written once there is room."""
    room = False

    class Stream(io.StringIO):
        def flush(self) -> None:
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stream = Stream()
    sink = JsonlSink(stream)
    sink.write(make_verdict("a"))
    with pytest.raises(StoreError, match="No space left"):
        sink.flush()
    room = True
    sink.close()
    assert _counting(stream.getvalue()) == [("a", 201)]


def test_goes_on_where_a_full_disk_stopped_it(tmp_path: Path) -> None:
    """When there is room again, the next flush completes the line that was cut."""
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


def test_reader_that_left() -> None:
    """A broken pipe passes through once; after that there is nothing left to say."""
    reading, writing = os.pipe()
    os.close(reading)
    sink = JsonlSink(Path(f"/dev/fd/{writing}"))
    sink.write(make_verdict())
    with pytest.raises(BrokenPipeError):
        sink.flush()
    sink.close()
    os.close(writing)


def test_half_a_line_from_a_crash(tmp_path: Path) -> None:
    """The next verdict starts on a line of its own."""
    path = tmp_path / "v.jsonl"
    path.write_text('{"run_id": "cut')
    with JsonlSink(path) as sink:
        sink.write(make_verdict("whole"))
    assert Verdict.model_validate_json(path.read_text().splitlines()[1]).run_id == "whole"


def test_place_that_cannot_be_opened(tmp_path: Path) -> None:
    """A folder in place of the file is named."""
    with pytest.raises(StoreError, match=f"{tmp_path} cannot be opened: Is a directory"):
        JsonlSink(tmp_path)
