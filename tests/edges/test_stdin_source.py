"""Pipes and lists as sources."""

import bz2
import gzip
import io
import lzma
import os
import re
import signal
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

from stream_triage.ports import Source
from stream_triage.records import Chunk, Event, Problem, RunEnd, Tick
from stream_triage.settings import InputSettings
from stream_triage.sources.memory import MemorySource
from stream_triage.sources.stdin import StdinSource
from tests.edges.source_contract import SourceContract, check_events, collect, problems, texts


class Pipe(io.BytesIO):
    """Gives one piece per read, like a live pipe; an exception among the pieces is raised."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        super().__init__()
        self.pieces = list(pieces)

    def read1(self, size: int | None = -1, /) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        assert size is None or len(piece) <= size
        return piece


class TestStdinContract(SourceContract):
    most_runs = 1

    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        return StdinSource(io.BytesIO(contents[0]))

    def unreadable(self, tmp_path: Path) -> Source:
        return StdinSource(io.BytesIO(b"\x7fELF" + bytes(100)))


class TestMemoryContract(SourceContract):
    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        events: list[Event] = []
        for number, content in enumerate(contents):
            run = f"memory{number}#{number}"
            cuts = range(0, max(len(content), 1), 200_000)
            events += [Chunk(run, content[cut : cut + 200_000]) for cut in cuts]
            events.append(RunEnd(run))
        return MemorySource(events)

    def unreadable(self, tmp_path: Path) -> Source:
        return MemorySource([Problem("memory", "cannot be read")])


def test_memory_passes_every_kind_of_event() -> None:
    """What is put in comes out, ticks and problems included."""
    given: list[Event] = [Chunk("r", b"a"), Tick(), Problem("p", "why", run_id="r"), RunEnd("r")]
    assert collect(MemorySource(given)) == given


@pytest.mark.parametrize("size", [1, 3, 4095, 4096, 10_000])
def test_any_read_size_gives_the_same_run(size: int) -> None:
    """How a pipe cuts the text changes nothing: it is one run, named by the pipe and eight random digits."""
    text = b"".join(b"line %d\n" % number for number in range(3000))
    events = collect(StdinSource(Pipe(*(text[cut : cut + size] for cut in range(0, len(text), size)))))
    assert texts(events) == {("stdin", ""): text}
    (end,) = (event for event in events if isinstance(event, RunEnd))
    assert end == RunEnd(end.run_id, path="stdin")
    assert re.fullmatch("stdin#[0-9a-f]{8}", end.run_id)


def test_pipes_are_runs_of_their_own() -> None:
    """The same text through two pipes is two runs."""
    ends = {collect(StdinSource(Pipe(b"text\n")))[-1].run_id for _ in range(20)}  # type: ignore[union-attr]
    assert len(ends) == 20


def test_a_pipe_may_be_named() -> None:
    """A run id that was given is used as it is, and the content can be compared with an earlier run of this id."""
    events = collect(StdinSource(Pipe(b"text\n"), run_id="night/17"))
    assert events == [Chunk("night/17", b"text\n"), RunEnd("night/17", content=sha256(b"text\n").hexdigest())]


def test_chunks_are_given_as_they_come() -> None:
    """Once the id is known, a chunk is passed on before the next one is waited for."""
    pipe = Pipe(b"a" * 4096, b"b", b"c")
    seen: list[tuple[bytes, int]] = []

    def handle(event: Event) -> None:
        if isinstance(event, Chunk):
            seen.append((event.data[:1], len(pipe.pieces)))

    StdinSource(pipe).run(handle)
    assert seen == [(b"a", 2), (b"b", 1), (b"c", 0)]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_compressed_text_is_unpacked(compress: Callable[[bytes], bytes]) -> None:
    """A packed stream is the run that is in it."""
    text = b"attach ok\n" * 5000
    assert texts(collect(StdinSource(Pipe(compress(text))))) == {("stdin", ""): text}


def test_damage_marks_the_run() -> None:
    """A packed stream that is cut off gives what could be read, and a problem of that run before its end."""
    text = b"".join(b"%d,%d\n" % (number, number**3) for number in range(5000))
    events = collect(StdinSource(Pipe(gzip.compress(text)[:-2000])))
    (read,) = texts(events).values()
    assert len(read) > len(text) / 2
    assert text.startswith(read)
    assert isinstance(events[-2], Problem)
    assert (events[-2].run_id, "cut off" in events[-2].reason) == (events[-1].run_id, True)  # type: ignore[union-attr]


def test_expansion_is_guarded() -> None:
    """A bomb in a pipe is stopped like one in a file."""
    settings = InputSettings(max_expansion=10, expansion_floor_bytes=100_000)
    events = collect(StdinSource(Pipe(gzip.compress(bytes(32) + b"a" * 5_000_000)), settings=settings))
    assert "input.max_expansion = 10" in problems(events)[0].reason
    assert sum(map(len, texts(events).values())) < 1_000_000


@pytest.mark.parametrize("come", [b"short", b"x" * 9000])
def test_interrupt_ends_the_run(come: bytes) -> None:
    """Ctrl-C loses nothing that had come, ends the run and is not swallowed."""
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        StdinSource(Pipe(come, KeyboardInterrupt())).run(events.append)
    check_events(events)
    assert texts(events) == {("stdin", ""): come}
    assert isinstance(events[-1], RunEnd)


def test_interrupt_of_a_real_pipe() -> None:
    """Ctrl-C while a pipe is waited for that has given less than 4 KiB: what came is a run, and it ends."""
    out, into = os.pipe()
    os.write(into, b"text\n")
    events: list[Event] = []
    with open(out, "rb") as pipe, open(into, "wb"):
        read1 = pipe.read1

        class Waiting(io.BytesIO):
            reads = 0

            def read1(self, size: int | None = -1, /) -> bytes:
                self.reads += 1
                if self.reads == 2:
                    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
                return read1(size or -1)

        with pytest.raises(KeyboardInterrupt):
            StdinSource(Waiting()).run(events.append)
    run = events[-1].run_id  # type: ignore[union-attr]
    assert events == [Chunk(run, b"text\n"), RunEnd(run, path="stdin")]


@pytest.mark.parametrize("size", [100, 4096, 20_000])
def test_interrupt_in_the_handler(size: int) -> None:
    """What had come is given when an event was interrupted, too; nothing more is waited for."""
    text = "ü\n" * (size // 4)
    pipe = Pipe(text.encode("utf-16"), b"never asked for")
    events: list[Event] = []

    def handle(event: Event) -> None:
        events.append(event)
        if len(events) == 1 and size > 100:
            raise KeyboardInterrupt

    if size == 100:
        pipe.pieces.insert(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        StdinSource(pipe).run(handle)
    check_events(events)
    assert texts(events) == {("stdin", ""): text.encode("utf-16")}
    assert pipe.pieces == [b"never asked for"]


def test_second_interrupt() -> None:
    """Also a run whose rest was interrupted ends."""
    events: list[Event] = []

    def handle(event: Event) -> None:
        events.append(event)
        if isinstance(event, Chunk):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StdinSource(Pipe(b"x" * 5000 + b"y" * 5000, b"z")).run(handle)
    assert [type(event) for event in events] == [Chunk, Chunk, RunEnd]


def test_interrupt_within_binary_data() -> None:
    """What is no text is no run, however little of it had come."""
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        StdinSource(Pipe(b"\x7fELF" + bytes(100), KeyboardInterrupt())).run(events.append)
    assert [problem.reason for problem in problems(events)] == ["is a program (ELF), not a log"]
    assert len(events) == 1


def test_interrupt_before_anything_came() -> None:
    """There is no run to end."""
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        StdinSource(Pipe(KeyboardInterrupt())).run(events.append)
    assert events == []


def test_read_error_marks_the_run() -> None:
    """A pipe that breaks ends the run with a problem."""
    events = collect(StdinSource(Pipe(b"text\n", OSError(5, "Input/output error"))))
    assert texts(events) == {("stdin", ""): b"text\n"}
    assert problems(events)[0].reason == "cannot be read further: Input/output error"
    assert problems(events)[0].run_id


def test_progress_counts_packed_bytes() -> None:
    """`read_bytes` is what came through the pipe; how much will come is unknown."""
    packed = gzip.compress(b"text\n" * 1000)
    source = StdinSource(Pipe(packed))
    collect(source)
    assert (source.read_bytes, source.total_bytes) == (len(packed), None)
