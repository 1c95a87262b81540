"""Following files that grow. Time is a script: each sleep of the source is one step of the test."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_triage.clock import FakeClock
from stream_triage.files.content import ContentDigest
from stream_triage.records import Chunk, Event, Problem, RunEnd, Tick
from stream_triage.settings import FollowSettings, InputSettings
from stream_triage.sources.file import FileSource
from tests.edges.source_contract import check_events, problems, texts

Step = Callable[[], object]
BY_FOLDER = InputSettings(run_by="folder")
IDLE = 10.0
POLL = 1.0


class ScriptedClock(FakeClock):
    """Takes one step of the script whenever somebody sleeps; after the last one comes Ctrl-C."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps = list(steps)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()

    def idle(self) -> None:
        self.advance(IDLE)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, content: bytes) -> Step:
    """A step that appends to a file, made when it is not there."""

    def step() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        with open(name, "ab") as file:
            file.write(content)

    return step


def wait() -> None:
    """A step in which nothing comes."""


def idle() -> None:
    """Stands for the idle time; replaced by the clock's own."""


def follow(
    *paths: str, steps: list[Step], settings: InputSettings | None = None, end: str | None = None, checked: bool = True
) -> list[Event]:
    """Follows while the steps are taken; `checked` holds the events to the contract (a run read again breaks it)."""
    events: list[Event] = []
    clock = ScriptedClock([])
    clock.steps = [clock.idle if step is idle else step for step in steps]
    chosen = FollowSettings(idle_seconds=IDLE, poll_seconds=POLL, end_pattern=end)
    with pytest.raises(KeyboardInterrupt):
        FileSource(paths, settings or InputSettings(), follow=chosen, clock=clock).run(events.append)
    assert sum(isinstance(event, Tick) for event in events) == len(steps) + 1
    if checked:
        check_events(events, contiguous=False)
    return events


def plain(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Tick)]


def ends(events: list[Event]) -> list[RunEnd]:
    return [event for event in events if isinstance(event, RunEnd)]


def ids(events: list[Event]) -> list[str]:
    """The ids of the runs, in the order of their ends. A run that was read again is there twice."""
    return [event.run_id for event in ends(events)]


def content(**sources: bytes) -> str:
    """The digest of a run with these sources; of one without a name if it is called `_`."""
    digest = ContentDigest()
    for source, text in sources.items():
        digest.update(source.removeprefix("_"), text)
    return digest.hexdigest()


def test_appended_text_is_read() -> None:
    """What is there and what comes is one run, ended by Ctrl-C."""
    put("a.log", b"one\n")()
    events = follow("a.log", steps=[put("a.log", b"two\n"), wait, put("a.log", b"three\n")])
    assert texts(events) == {("a.log", ""): b"one\ntwo\nthree\n"}
    assert (events[-1].path, events[-1].content) == ("a.log", content(_=b"one\ntwo\nthree\n"))


def test_text_is_passed_on_at_once() -> None:
    """A run is named by its file, so that nothing must be held back until its beginning is known."""
    put("a.log", b"a")()
    events = follow("a.log", steps=[put("a.log", b"b"), put("a.log", b"c")])
    (run,) = ids(events)
    assert events[:5] == [Chunk(run, b"a"), Tick(), Chunk(run, b"b"), Tick(), Chunk(run, b"c")]


def test_the_same_file_keeps_its_id() -> None:
    """When it is followed again, with more text; another file of that name has another id."""
    put("a.log", b"one\n")()
    first = ids(follow("a.log", steps=[wait]))
    put("a.log", b"two\n")()
    assert ids(follow("a.log", steps=[wait])) == first
    os.rename("a.log", "b.log")
    put("a.log", b"one\n")()
    assert ids(follow("a.log", steps=[wait])) != first


def test_content_is_that_of_the_finished_file() -> None:
    """With it, `run` recognises a run that was followed. Parts of a log are joined in the same way."""
    put("r/a.log", b"one\n")()
    put("r/b.log.1", b"part")()
    put("r/b.log", b"two")()
    events = follow("r", steps=[put("r/a.log", b"three"), put("r/b.log", b"four\n")], settings=BY_FOLDER)
    assert [event.content for event in ends(events)] == [content(a=b"one\nthree", b=b"part\ntwofour\n")]


def test_idle_ends_a_run() -> None:
    """A run to which nothing came for the idle time ends, and not before."""
    put("a.log", b"one\n")()
    almost: Step = lambda: None  # noqa: E731  # one poll short of the idle time
    events = follow("a.log", steps=[almost] * 9)
    assert isinstance(events[-3], Tick)  # ended by Ctrl-C alone
    events = follow("a.log", steps=[almost] * 10)
    assert isinstance(events[-1], Tick)
    assert [event.content for event in ends(events)] == [content(_=b"one\n")]


def test_growth_keeps_a_run_open() -> None:
    """The idle time counts from the last growth."""
    steps: list[Step] = []
    for _ in range(4):
        steps += [put("a.log", b"more\n")] + [wait] * 8
    events = follow("a.log", steps=steps)
    assert len([event for event in events if isinstance(event, RunEnd)]) == 1


def test_growth_after_idle_reads_the_run_again() -> None:
    """The same run id comes again with the whole text, so that the longer verdict replaces the shorter."""
    put("a.log", b"one\n")()
    events = follow("a.log", steps=[idle, wait, put("a.log", b"two\n"), idle, put("a.log", b"three\n")], checked=False)
    assert len(set(ids(events))) == 1
    assert [event.content for event in ends(events)] == [
        content(_=b"one\n"),
        content(_=b"one\ntwo\n"),
        content(_=b"one\ntwo\nthree\n"),
    ]
    assert texts(events)["a.log", ""] == b"one\n" + b"one\ntwo\n" + b"one\ntwo\nthree\n"


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_end_pattern(cut: int) -> None:
    """A run ends behind a line that matches, also one that came in pieces; the next run is named by where it starts."""
    text = b"start\nVERDICT: pass\r\nstart again\nVERDICT: fail\n"
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    events = follow("a.log", steps=[put("a.log", piece) for piece in pieces], end=r"^VERDICT: \w+$")
    first, second = text[:21], text[21:]
    assert texts(events) == {("a.log", ""): first, ("a.log@21", ""): second}
    assert [(event.path, event.content) for event in ends(events)] == [
        ("a.log", content(_=first)),
        ("a.log@21", content(_=second)),
    ]


def test_end_pattern_across_large_chunks() -> None:
    """An end line of which two reads have a part ends the run."""
    text = b"x" * 99 + b"\n"
    before = text * 2621 + b"THE " + b"END\n"  # 2621 lines are 44 bytes short of 256 KiB
    put("a.log", b"y" * 40 + before + b"next\n")()
    assert texts(follow("a.log", steps=[], end="^THE END$")) == {
        ("a.log", ""): b"y" * 40 + before,
        (f"a.log@{len(before) + 40}", ""): b"next\n",
    }


def test_only_whole_lines_end_a_run() -> None:
    """What looks like an end line may still go on."""
    events = follow("a.log", steps=[put("a.log", b"END"), put("a.log", b"LESS\n"), put("a.log", b"END\n")], end="^END$")
    assert texts(events) == {("a.log", ""): b"ENDLESS\nEND\n"}


def test_white_space_behind_the_end_is_no_run() -> None:
    """An empty line after the last verdict opens nothing; it belongs to a run that follows."""
    assert len(texts(follow("a.log", steps=[put("a.log", b"x\nEND\n\n"), idle, wait], end="END"))) == 1
    os.remove("a.log")
    events = follow("a.log", steps=[put("a.log", b"x\nEND\n\n"), put("a.log", b"y\n")], end="END")
    assert texts(events) == {("a.log", ""): b"x\nEND\n", ("a.log@6", ""): b"\ny\n"}


def test_growth_after_idle_behind_an_end_line() -> None:
    """Only the run that ended by time is read again, not what was before its start."""
    put("a.log", b"\xef\xbb\xbfx\nEND\ny\n")()
    events = follow("a.log", steps=[idle, wait, put("a.log", b"z\n")], end="END", checked=False)
    _, run, again = ids(events)
    assert run == again
    assert [event.data for event in events if isinstance(event, Chunk) and event.run_id == run] == [b"y\n", b"y\n", b"z\n"]
    assert ends(events)[-1].content == content(_=b"y\nz\n")


@pytest.mark.parametrize("path", ["logs", "logs/*.log", "logs/**"])
def test_new_files_are_followed(path: str) -> None:
    """Files that appear later, and a folder that does, are followed like those of the beginning."""
    put("logs/a.log", b"a\n")()
    events = follow(path, steps=[put("logs/b.log", b"b\n"), put("logs/a.log", b"A\n"), put("logs/b.log", b"B\n")])
    assert texts(events) == {("logs/a.log", ""): b"a\nA\n", ("logs/b.log", ""): b"b\nB\n"}


@pytest.mark.parametrize("path", ["logs/a.log", "logs", "logs/*"])
def test_waiting_for_a_path(path: str) -> None:
    """What does not exist yet is noted once, without error, and read when it comes."""
    events = follow(path, steps=[wait, wait, put("logs/a.log", b"a\n")])
    assert texts(events) == {("logs/a.log", ""): b"a\n"}
    assert all(not problem.error for problem in problems(events))
    assert len(problems(events)) <= 1


def rotate() -> None:
    os.rename("r/du.log", "r/du.log.1")
    put("r/du.log", b"new\n")()


@pytest.mark.parametrize("path", ["r", "r/du.log"])
def test_rotation_by_file(path: str) -> None:
    """The old file is read to its end, whatever its name is now; the new one is a new run."""
    put("r/du.log", b"old\n")()

    def grow_and_rotate() -> None:
        put("r/du.log", b"last\n")()
        rotate()

    events = follow(path, steps=[grow_and_rotate, put("r/du.log", b"newer\n")])
    assert [(event.path, event.content) for event in ends(events)] == [
        ("r/du.log", content(_=b"old\nlast\n")),
        ("r/du.log", content(_=b"new\nnewer\n")),
    ]
    assert len(set(ids(events))) == 2


@pytest.mark.parametrize("path", ["r", "r/du.log"])
def test_rotation_by_folder(path: str) -> None:
    """The new file goes on where the old one stopped, in the same source."""
    put("r/du.log", b"old\n")()

    def grow_and_rotate() -> None:
        put("r/du.log", b"last\n")()
        rotate()

    events = follow(path, steps=[grow_and_rotate, put("r/du.log", b"newer\n")], settings=BY_FOLDER)
    assert texts(events) == {("r", "du"): b"old\nlast\nnew\nnewer\n"}


def test_rotated_twice_and_packed() -> None:
    """What was read under its live name is not read again under its rotated ones, packed or copied."""
    put("r/du.log", b"old\n")()

    def pack() -> None:
        Path("r/du.log.2.gz").write_bytes(gzip.compress(Path("r/du.log.1").read_bytes()))
        os.remove("r/du.log.1")

    def copy_and_empty() -> None:
        Path("r/du.log.1").write_bytes(Path("r/du.log").read_bytes())
        os.truncate("r/du.log", 0)

    steps = [rotate, pack, wait, put("r/du.log", b"er\n"), copy_and_empty, put("r/du.log", b"third\n")]
    events = follow("r", steps=steps)
    assert b"".join(chunk.data for chunk in events if isinstance(chunk, Chunk)) == b"old\nnew\ner\nthird\n"
    assert not any(problem.error for problem in problems(events))


def test_rotated_parts_of_the_beginning() -> None:
    """Parts that were rotated before we came are read first, oldest first, and again after idle time."""
    put("r/du.log", b"3\n")()
    put("r/du.log.1", b"2\n")()
    put("r/du.log.2.gz", gzip.compress(b"1\n"))()
    events = follow("r", steps=[idle, put("r/du.log", b"4\n")], settings=BY_FOLDER, checked=False)
    first, second = ids(events)
    assert first == second
    assert texts(events)["r", "du"] == b"1\n2\n3\n" + b"1\n2\n3\n4\n"


def test_truncation() -> None:
    """A file that was emptied begins a new run."""
    put("a.log", b"a long first run\n")()

    def empty() -> None:
        os.truncate("a.log", 0)
        put("a.log", b"second\n")()

    events = follow("a.log", steps=[empty, put("a.log", b"more\n")])
    assert [event.content for event in ends(events)] == [content(_=b"a long first run\n"), content(_=b"second\nmore\n")]


def test_truncation_to_the_same_beginning() -> None:
    """Runs that begin alike under one name have ids of their own."""
    head = b"x" * 5000
    put("b.log", head + b"long\n")()

    def empty() -> None:
        os.truncate("b.log", 0)
        put("b.log", head)()

    events = follow("b.log", steps=[empty])
    assert [event.content for event in ends(events)] == [content(_=head + b"long\n"), content(_=head)]
    assert len(set(ids(events))) == 2


def test_folder_run() -> None:
    """Sources of a folder run end together."""
    put("r/ue.log", b"u" * 5000)()
    put("r/du.log", b"d\n")()
    events = follow("r", steps=[put("r/ue.log", b"END\n"), put("r/du.log", b"next\n")], settings=BY_FOLDER, end="END")
    assert texts(events) == {
        ("r", "du"): b"d\n",
        ("r", "ue"): b"u" * 5000 + b"END\n",
        ("r@5006", "du"): b"next\n",
    }
    assert [event.content for event in ends(events)] == [
        content(du=b"d\n", ue=b"u" * 5000 + b"END\n"),
        content(du=b"next\n"),
    ]


def test_end_line_waits_for_the_other_sources() -> None:
    """What the other sources have at the end line belongs to the run; what comes later, to the next."""
    put("r/a.log", b"a\nEND\n")()
    put("r/b.log", b"b1\nb2\n")()
    events = follow("r", steps=[wait, idle, wait], settings=BY_FOLDER, end="^END$")
    assert texts(events) == {("r", "a"): b"a\nEND\n", ("r", "b"): b"b1\nb2\n"}
    events = follow("r", steps=[put("r/b.log", b"late\n")], settings=BY_FOLDER, end="^END$")
    assert texts(events)["r@12", "b"] == b"late\n"


def test_end_lines_in_all_sources() -> None:
    """Each is read to its own end line, run by run; one without keeps nothing back."""
    put("r/a.log", b"a1\nEND\na2\nEND\na3\n")()
    put("r/b.log", b"b1\nb2\n")()
    put("r/c.log", b"c1\nEND\nc2\nEND\n")()
    events = follow("r", steps=[], settings=BY_FOLDER, end="^END$")
    assert [text for (_, _), text in texts(events).items()] == [
        *(b"a1\nEND\n", b"b1\nb2\n", b"c1\nEND\n"),
        *(b"a2\nEND\n", b"c2\nEND\n"),
        b"a3\n",
    ]
    assert len([event for event in events if isinstance(event, RunEnd)]) == 3


@pytest.mark.parametrize("first", [b"short\n", b"f" * 3000, b"f" * 9000])
@pytest.mark.parametrize("second", [b"short\n", b"s" * 9000])
def test_same_text_as_read_finished(first: bytes, second: bytes) -> None:
    """Parts that were rotated before included, however the sources have grown."""
    put("r/a.log", first[:1000])()
    put("r/b.log.1", b"part")()
    put("r/b.log", second)()
    more: list[Step] = [put("r/b.log", second), put("r/a.log", first[1000:] + b"x\n"), put("r/b.log", b"y\n")]
    followed = follow("r", steps=more, settings=BY_FOLDER)
    finished: list[Event] = []
    FileSource(["r"], BY_FOLDER).run(finished.append)
    assert texts(finished) == texts(followed)


def test_rotation_within_a_line() -> None:
    """A line that the old file did not end is not continued by the new one."""
    put("r/du.log", b"old")()
    events = follow("r", steps=[rotate, put("r/du.log", b"newer\n")], settings=BY_FOLDER)
    assert texts(events) == {("r", "du"): b"old\nnew\nnewer\n"}


def stats_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is looked at, one by one."""
    looked: list[str] = []
    stat = os.stat

    def watched(path: Any, **kwargs: Any) -> os.stat_result:
        looked.append(str(path))
        return stat(path, **kwargs)

    monkeypatch.setattr(os, "stat", watched)
    return looked


@pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
@pytest.mark.parametrize("end", [None, "^END$"])
def test_what_is_gone_is_forgotten(settings: InputSettings, end: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended runs whose files are gone are not looked after; the same path begins a run of its own later."""
    looked = stats_of(monkeypatch)
    put("logs/r/a.log", b"a\nEND\n")()
    put("logs/r/b.log.gz", gzip.compress(b"b\n"))()
    put("logs/r/c.png", b"\x89PNG\r\n\x1a\n")()

    def remove() -> None:
        for path in Path("logs/r").iterdir():
            path.unlink()
        Path("logs/r").rmdir()

    steps: list[Step] = [idle, remove, wait, idle, looked.clear, wait, lambda: seen.extend(looked)]
    seen: list[str] = []
    source = FileSource(
        ["logs"], settings, follow=FollowSettings(idle_seconds=IDLE, end_pattern=end), clock=(clock := ScriptedClock([]))
    )
    clock.steps = [clock.idle if step is idle else step for step in [*steps, put("logs/r/a.log", b"a\nEND\n")]]
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        source.run(events.append)
    assert seen
    assert set(seen) == {"logs"}
    follower = source._follow
    assert follower
    assert len(follower._followed) == len(follower._reader.files) == 1
    assert not follower._reader.unresolved
    assert not follower._finished
    check_events(events, contiguous=False)
    assert len([event for event in events if isinstance(event, RunEnd)]) == (3 if settings is not BY_FOLDER else 2)
    assert events[-2 if end else -1] != events[0]


def test_a_copy_of_what_is_gone_is_not_read_again() -> None:
    """The name of a removed log is remembered while there are parts rotated from it."""
    put("r/du.log", b"old\n")()

    def pack() -> None:
        Path("r/du.log.1.gz").write_bytes(gzip.compress(Path("r/du.log").read_bytes()))
        os.remove("r/du.log")

    steps: list[Step] = [idle, pack, wait, idle, wait]
    for number in range(1, 4):
        steps += [lambda n=number: os.rename(f"r/du.log.{n}.gz", f"r/du.log.{n + 1}.gz"), idle, wait]  # type: ignore[misc]
    events = follow("r", steps=steps)
    assert texts(events) == {("r/du.log", ""): b"old\n"}


def test_a_missing_source_of_an_ended_run_is_remembered() -> None:
    """However long it is gone, when the run goes on it is said that it cannot be read again."""
    put("r/a.log", b"a\n")()
    put("r/b.log", b"b\n")()
    steps: list[Step] = [idle, lambda: os.remove("r/b.log"), idle, idle, wait, put("r/a.log", b"more\n")]
    (problem,) = problems(follow("r", steps=steps, settings=BY_FOLDER, checked=False))
    assert (problem.path, problem.source) == ("r/b.log", "b")


def test_copytruncate_goes_on_in_the_folder_run() -> None:
    """The rest is read from the copy, which is no part of its own; a run by file ends, for its text has ended."""
    put("r/du.log", b"old\n")()

    def rotate_by_copy() -> None:
        put("r/du.log", b"last\n")()
        Path("r/du.log.1").write_bytes(Path("r/du.log").read_bytes())
        Path("r/du.log").write_bytes(b"new\n")

    events = follow("r", steps=[rotate_by_copy, wait, put("r/du.log", b"newer\n")], settings=BY_FOLDER)
    assert [event.content for event in ends(events)] == [content(du=b"old\nlast\nnew\nnewer\n")]
    assert not any(problem.error for problem in problems(events))


def test_folder_that_the_next_test_uses() -> None:
    """New files that appear after the idle time are another run; the first is not read again."""
    put("r/a.log", b"first\n")()
    events = follow("r", steps=[idle, wait, put("r/b.log", b"second\n"), idle, wait], settings=BY_FOLDER)
    assert [event.content for event in ends(events)] == [content(a=b"first\n"), content(b=b"second\n")]
    assert len(set(ids(events))) == 2


def test_log_that_the_next_test_overwrites() -> None:
    """With the same head and longer, after the idle time: another run with all its lines, and a report."""
    head = b"".join(b"line %d\n" % number for number in range(112))
    put("a.log", head)()
    longer = head[:500].rpartition(b"\n")[0] + b"\n" + b"other\n" * 300
    events = follow("a.log", steps=[idle, wait, lambda: Path("a.log").write_bytes(longer), wait, wait])
    assert [event.content for event in ends(events)] == [content(_=head), content(_=longer)]
    assert len(set(ids(events))) == 2
    assert ["may be missing" in problem.reason for problem in problems(events)] == [True]


def test_renamed_and_packed_before_the_rest_was_read() -> None:
    """An open file is read to its end although it has no name any more; the packed one is not read."""
    put("r/du.log", b"old\n")()

    def pack() -> None:
        put("r/du.log", b"last\n")()
        Path("r/du.log.1.gz").write_bytes(gzip.compress(Path("r/du.log").read_bytes()))
        os.remove("r/du.log")

    events = follow("r", steps=[pack, wait, wait])
    assert texts(events) == {("r/du.log", ""): b"old\nlast\n"}


def test_nul_bytes_are_not_read() -> None:
    """They are left out of the text and of its digest, and counted in a note."""
    put("a.log", bytes(700) + b"one\n" + bytes(300))()
    events = follow("a.log", steps=[wait, wait, wait, wait, idle, wait])
    assert [event.content for event in ends(events)] == [content(_=b"one\n")]
    assert [(problem.reason, problem.error) for problem in problems(events)] == [
        ("700 NUL bytes before byte 700 are skipped", False),
        ("300 NUL bytes at its end are skipped", False),
    ]


def test_folder_run_is_read_again_as_a_whole() -> None:
    """Growth of one source after the idle time brings all sources again, and says what is gone."""
    put("r/a.log", b"a\n")()
    put("r/b.log", b"b\n")()
    put("r/c.log", b"c\n")()

    def change() -> None:
        put("r/c.log", b"C\n")()
        os.remove("r/b.log")

    events = follow("r", steps=[idle, wait, change], settings=BY_FOLDER, checked=False)
    run, same = ids(events)
    assert run == same
    again = plain(events)[plain(events).index(ends(events)[0]) + 1 :]
    assert again[:-1] == [
        Problem("r/b.log", "is gone and cannot be read again", run, "b"),
        Chunk(run, b"a\n", "a"),
        Chunk(run, b"c\n", "c"),
        Chunk(run, b"C\n", "c"),
    ]
    assert ends(events)[-1].content == content(a=b"a\n", c=b"c\nC\n")


def test_packed_files_are_read_once() -> None:
    """Packed files and archives are finished runs; one that appears is read when its size stands still."""
    put("logs/a.log.gz", gzip.compress(b"a\n"))()
    packed = gzip.compress(b"b\n" * 10)
    steps: list[Step] = [put("logs/b.log.gz", packed[:15]), put("logs/b.log.gz", packed[15:]), wait, wait]
    events = follow("logs", steps=steps)
    assert texts(events) == {("logs/a.log.gz", ""): b"a\n", ("logs/b.log.gz", ""): b"b\n" * 10}
    assert not problems(events)


def test_packed_files_that_are_renamed() -> None:
    """Rotation renames all parts of a log. Those that were read are not read again, whether they are copies or not."""
    put("r/du.log.1", b"old\n")()
    put("r/du.log.2.gz", gzip.compress(b"older\n"))()

    def pack() -> None:
        Path("r/du.log.1.gz").write_bytes(gzip.compress(Path("r/du.log.1").read_bytes()))
        os.remove("r/du.log.1")

    def rotate_parts() -> None:
        os.rename("r/du.log.2.gz", "r/du.log.3.gz")
        os.rename("r/du.log.1.gz", "r/du.log.2.gz")

    steps: list[Step] = [pack, wait, put("r/du.log", b"new\n"), wait, rotate_parts, wait, wait, wait]
    assert sorted(texts(follow("r", steps=steps)).values()) == [b"new\n", b"old\n", b"older\n"]


def test_damaged_packed_part_marks_the_folder_run() -> None:
    """Damage in a part that was rotated before we came is a problem of the run."""
    put("r/du.log.1.gz", gzip.compress(b"one\n" * 1000)[:-4])()
    put("r/du.log", b"two\n")()
    events = follow("r", steps=[wait], settings=BY_FOLDER)
    assert texts(events) == {("r", "du"): b"one\n" * 1000 + b"two\n"}
    (problem,) = problems(events)
    assert ([problem.run_id], problem.source) == (ids(events), "du")


def test_binary_files_are_reported_once() -> None:
    """A picture that appears is noted and left alone, however often it grows."""
    events = follow("logs", steps=[put("logs/a.png", b"\x89PNG\r\n\x1a\n"), put("logs/a.png", bytes(50)), wait])
    assert [(problem.path, problem.error) for problem in problems(events)] == [
        ("logs", False),
        ("logs/a.png", False),
    ]
    assert not texts(events)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_end_lines_in_wide_text(encoding: str) -> None:
    """They are found however the bytes come. Bytes are passed on as they are: the pipeline decodes them."""
    text = ("" if encoding in ("utf-16", "utf-32") else "\ufeff") + "\u0a0aé\nEND\nß\n"
    data, last = text.encode(encoding), "ü\n".encode(encoding.removesuffix("-be") + ("-be" if "be" in encoding else "-le"))
    first = data.rindex("ß".encode(encoding)[-2:] if "16" in encoding else "ß".encode(encoding)[-4:])
    put("a.log", data[:4])()
    steps: list[Step] = [put("a.log", data[start : start + 1]) for start in range(4, len(data))]
    events = follow("a.log", steps=[*steps, idle, wait, put("a.log", last)], end="^END$", checked=False)
    assert [event.content for event in ends(events)] == [
        content(_=data[:first]),
        content(_=data[first:]),
        content(_=data[first:] + last),
    ]
    assert len(set(ids(events))) == 2


def test_many_files_do_not_exhaust_the_system() -> None:
    """More files than may be open are followed."""
    for number in range(400):
        put(f"logs/{number}.log", b"x")()
    events = follow("logs", steps=[put("logs/7.log", b"y")])
    assert len(texts(events)) == 400
    assert texts(events)["logs/7.log", ""] == b"xy"


def test_an_inode_used_again() -> None:
    """A new file with the inode of a removed one is not taken for it."""
    put("logs/a.log", b"first run\n")()

    def replace() -> None:
        # A renamed file with other content looks the same as a new one that got the inode.
        os.rename("logs/a.log", "logs/b.log")
        Path("logs/b.log").write_bytes(b"another run, longer than the first\n")

    events = follow("logs", steps=[idle, wait, replace])
    assert texts(events) == {
        ("logs/a.log", ""): b"first run\n",
        ("logs/b.log", ""): b"another run, longer than the first\n",
    }


def test_a_pipe_is_not_followed() -> None:
    """Reading a pipe would stop everything else."""
    put("a.log", b"a\n")()
    os.mkfifo("pipe")
    events = follow("pipe", "a.log", steps=[wait])
    assert texts(events) == {("a.log", ""): b"a\n"}
    assert [(problem.path, problem.error) for problem in problems(events)] == [("pipe", True)]


def test_interrupt_in_the_handler_ends_the_runs() -> None:
    """Ctrl-C may come at any time; every run that was begun is ended, and the interrupt passes."""
    put("a.log", b"a" * 5000)()
    put("b.log", b"b" * 5000)()
    events: list[Event] = []

    def handle(event: Event) -> None:
        events.append(event)
        if isinstance(event, Chunk) and event.run_id.startswith("b.log"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FileSource(["a.log", "b.log"], InputSettings(), follow=FollowSettings(), clock=FakeClock()).run(handle)
    assert [type(event) for event in events] == [Chunk, Chunk, RunEnd, RunEnd]


def test_last_lines_before_an_interrupt() -> None:
    """What was written between the last look and Ctrl-C is read."""
    put("a.log", b"one\n")()

    def write_and_interrupt() -> None:
        put("a.log", b"last\n")()
        raise KeyboardInterrupt

    events: list[Event] = []
    source = FileSource(["a.log"], InputSettings(), follow=FollowSettings(), clock=ScriptedClock([write_and_interrupt]))
    with pytest.raises(KeyboardInterrupt):
        source.run(events.append)
    assert texts(events) == {("a.log", ""): b"one\nlast\n"}
    check_events(events)


@pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
def test_unreadable_files_are_tried_again(settings: InputSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is reported at once and once, and read when it may be."""
    put("r/a.log", b"a\n")()
    denied, opened = True, os.open

    def guarded_open(path: Any, *args: Any, **kwargs: Any) -> Any:
        if denied:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    def allow() -> None:
        nonlocal denied
        denied = False

    monkeypatch.setattr(os, "open", guarded_open)
    events = follow("r", steps=[wait, wait, allow], settings=settings)
    assert events[0] == Problem("r/a.log", "cannot be read: Permission denied; it is tried again")
    assert len(problems(events)) == 1
    assert list(texts(events).values()) == [b"a\n"]
