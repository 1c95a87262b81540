"""The behaviour that every source owes."""

from collections import Counter
from pathlib import Path

import pytest

from stream_triage.files.content import ContentDigest
from stream_triage.files.naming import OpenKey
from stream_triage.ports import Source
from stream_triage.records import Chunk, Event, Problem, RunEnd, Tick


def collect(source: Source, contiguous: bool = True) -> list[Event]:
    """Runs a source to its end, checks its events and returns them."""
    events: list[Event] = []
    source.run(events.append)
    check_events(events, contiguous)
    return events


def check_events(events: list[Event], contiguous: bool = True) -> None:
    """Each run has one end, after all its other events; with `contiguous`, no other run is in between."""
    ended: set[str] = set()
    current = None
    for event in events:
        if isinstance(event, Tick):
            continue
        run = event.run_id
        if isinstance(event, Problem):
            assert event.path.isprintable()
            if run is None:
                continue
        assert run
        assert run.isprintable()
        assert run not in ended, f"{event} comes after the end of its run"
        assert not contiguous or current in (None, run), f"{event} comes within {current}"
        current = run
        if isinstance(event, RunEnd):
            ended.add(run)
            current = None
    assert {event.run_id for event in events if isinstance(event, Chunk)} == ended


def finished(path: str, **sources: bytes) -> RunEnd:
    """The end of a finished file with the text `_`, or of a folder with these sources."""
    content = ContentDigest()
    for source, text in sources.items():
        content.update(source.strip("_"), text)
    return RunEnd(OpenKey.of(path), path=path, content=content.hexdigest(), head=content.head())


def texts(events: list[Event]) -> dict[tuple[str, str], bytes]:
    """The text by path of the run (the id without its hash) and source."""
    joined: dict[tuple[str, str], bytes] = {}
    for event in events:
        if isinstance(event, Chunk):
            key = (event.run_id.rpartition("#")[0], event.source)
            joined[key] = joined.get(key, b"") + event.data
    return joined


def problems(events: list[Event]) -> list[Problem]:
    return [event for event in events if isinstance(event, Problem)]


class SourceContract:
    """A subclass says how to make a source that reads the given contents, one run each."""

    most_runs = 3

    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        raise NotImplementedError

    def unreadable(self, tmp_path: Path) -> Source:
        """A source from which nothing can be read."""
        raise NotImplementedError

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 256 * 1024, 256 * 1024 + 1, 700_000])
    def test_text_is_complete(self, size: int, tmp_path: Path) -> None:
        """Whatever the length, the chunks of a run join to its text."""
        contents = [bytes(32 + (number * 7 + run) % 90 for number in range(size)) for run in range(self.most_runs)]
        joined = texts(collect(self.source(contents, tmp_path)))
        assert list(joined.values()) == contents

    def test_runs_end_once(self, tmp_path: Path) -> None:
        """Every run has an id of its own and one end."""
        contents = [b"a run\n", b"", b"a run\n"][: self.most_runs]
        events = collect(self.source(contents, tmp_path))
        ends = Counter(event.run_id for event in events if isinstance(event, RunEnd))
        assert list(ends.values()) == [1] * len(contents)

    def test_chunks_are_bounded(self, tmp_path: Path) -> None:
        """No chunk contains a whole large file."""
        events = collect(self.source([b"line\n" * 200_000], tmp_path))
        assert max(len(event.data) for event in events if isinstance(event, Chunk)) <= 256 * 1024

    def test_problems_do_not_raise(self, tmp_path: Path) -> None:
        """Input that cannot be read is a problem without a run, not an exception."""
        events = collect(self.unreadable(tmp_path))
        assert [(event.run_id, event.error) for event in problems(events)] == [(None, True)]
        assert not texts(events)

    @pytest.mark.parametrize("error", [OSError("disk full"), ValueError("bug"), KeyboardInterrupt()])
    def test_errors_of_the_handler_pass(self, error: BaseException, tmp_path: Path) -> None:
        """An error of the handler is raised, and not reported as a problem of the input."""
        events: list[Event] = []

        def handle(event: Event) -> None:
            events.append(event)
            if isinstance(event, Chunk):
                raise error

        with pytest.raises(type(error)):
            self.source([b"text\n"], tmp_path).run(handle)
        assert not problems(events)
