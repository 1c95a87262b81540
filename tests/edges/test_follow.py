"""Following files that grow. Time is a script: each sleep of the source is one step of the test."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_triage.clock import FakeClock
from stream_triage.files.naming import run_id
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


def test_appended_text_is_read() -> None:
    """What is there and what comes is one run, ended by Ctrl-C."""
    put("a.log", b"one\n")()
    events = follow("a.log", steps=[put("a.log", b"two\n"), wait, put("a.log", b"three\n")])
    assert texts(events) == {("a.log", ""): b"one\ntwo\nthree\n"}
    assert events[-1] == RunEnd(run_id("a.log", b"one\ntwo\nthree\n"))


def test_the_beginning_is_held_back() -> None:
    """Nothing is given until the run id is known: it is that of the finished file. Then text is given at once."""
    put("a.log", b"a" * 4000)()
    events = follow("a.log", steps=[put("a.log", b"b" * 96), put("a.log", b"c")])
    run = run_id("a.log", b"a" * 4000 + b"b" * 96)
    assert events[:5] == [Tick(), Chunk(run, b"a" * 4000 + b"b" * 96), Tick(), Chunk(run, b"c"), Tick()]


def test_idle_ends_a_run() -> None:
    """A run to which nothing came for the idle time ends, and not before."""
    put("a.log", b"one\n")()
    almost: Step = lambda: None  # noqa: E731  # one poll short of the idle time
    events = follow("a.log", steps=[almost] * 9)
    assert isinstance(events[-3], Tick)  # ended by Ctrl-C alone
    events = follow("a.log", steps=[almost] * 10)
    assert isinstance(events[-1], Tick)
    assert RunEnd(run_id("a.log", b"one\n")) in events


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
    run = run_id("a.log", b"one\n")
    assert plain(events) == [
        Chunk(run, b"one\n"),
        RunEnd(run),
        Chunk(run, b"one\ntwo\n"),
        RunEnd(run),
        Chunk(run, b"one\ntwo\nthree\n"),
        RunEnd(run),
    ]


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_end_pattern(cut: int) -> None:
    """A run ends behind a line that matches, also one that came in pieces; the next run is named by where it starts."""
    text = b"start\nVERDICT: pass\r\nstart again\nVERDICT: fail\n"
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    events = follow("a.log", steps=[put("a.log", piece) for piece in pieces], end=r"^VERDICT: \w+$")
    first, second = text[:21], text[21:]
    assert texts(events) == {("a.log", ""): first, ("a.log@21", ""): second}
    ends = [event for event in events if isinstance(event, RunEnd)]
    assert ends == [RunEnd(run_id("a.log", first)), RunEnd(run_id("a.log@21", second))]


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
    run = run_id("a.log@6", b"y\n")
    assert plain(events)[2:] == [Chunk(run, b"y\n"), RunEnd(run), Chunk(run, b"y\nz\n"), RunEnd(run)]


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
    assert plain(events) == [
        Chunk(run_id("r/du.log", b"old\nlast\n"), b"old\nlast\n"),
        RunEnd(run_id("r/du.log", b"old\nlast\n")),
        Chunk(run_id("r/du.log", b"new\nnewer\n"), b"new\nnewer\n"),
        RunEnd(run_id("r/du.log", b"new\nnewer\n")),
    ]


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
    assert [chunk.data for chunk in events if isinstance(chunk, Chunk)] == [b"old\n", b"new\ner\n", b"third\n"]
    assert {problem.path: problem.error for problem in problems(events)} == {
        "r/du.log.2.gz": False,
        "r/du.log.1": False,
    }


def test_rotated_parts_of_the_beginning() -> None:
    """Parts that were rotated before we came are read first, oldest first, and again after idle time."""
    put("r/du.log", b"3\n")()
    put("r/du.log.1", b"2\n")()
    put("r/du.log.2.gz", gzip.compress(b"1\n"))()
    events = follow("r", steps=[idle, put("r/du.log", b"4\n")], settings=BY_FOLDER, checked=False)
    run = run_id("r", b"1\n2\n3\n")
    assert [event for event in plain(events) if not isinstance(event, Chunk)] == [RunEnd(run), RunEnd(run)]
    assert texts(events)["r", "du"] == b"1\n2\n3\n" + b"1\n2\n3\n4\n"


def test_truncation() -> None:
    """A file that was emptied begins a new run."""
    put("a.log", b"a long first run\n")()

    def empty() -> None:
        os.truncate("a.log", 0)
        put("a.log", b"second\n")()

    events = follow("a.log", steps=[empty, put("a.log", b"more\n")])
    assert [chunk.data for chunk in events if isinstance(chunk, Chunk)] == [b"a long first run\n", b"second\nmore\n"]


def test_truncation_to_the_same_beginning() -> None:
    """Runs that begin alike under one name have ids of their own."""
    head = b"x" * 5000
    put("b.log", head + b"long\n")()

    def empty() -> None:
        os.truncate("b.log", 0)
        put("b.log", head)()

    events = follow("b.log", steps=[empty])
    assert [event.run_id for event in events if isinstance(event, RunEnd)] == [
        run_id("b.log", head),
        run_id("b.log~2", head),
    ]


def test_folder_run() -> None:
    """Sources of a folder run end together; the id comes from the first by name."""
    put("r/ue.log", b"u" * 5000)()
    put("r/du.log", b"d\n")()
    events = follow("r", steps=[put("r/ue.log", b"END\n"), put("r/du.log", b"next\n")], settings=BY_FOLDER, end="END")
    assert texts(events) == {
        ("r", "du"): b"d\n",
        ("r", "ue"): b"u" * 5000 + b"END\n",
        ("r@5006", "du"): b"next\n",
    }
    assert RunEnd(run_id("r", b"d\n")) in events


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
def test_same_id_as_read_finished(first: bytes, second: bytes) -> None:
    """The id that earlier releases gave to both, also when the first source by name fills its 4 KiB last."""
    put("r/a.log", first[:1000])()
    put("r/b.log.1", b"part")()
    put("r/b.log", second)()
    more: list[Step] = [put("r/b.log", second), put("r/a.log", first[1000:] + b"x\n"), put("r/b.log", b"y\n")]
    followed = follow("r", steps=more, settings=BY_FOLDER)
    finished: list[Event] = []
    FileSource(["r"], BY_FOLDER).run(finished.append)
    assert finished[-1].head == followed[-1].run_id.rpartition("#")[2]
    assert texts(finished) == texts(followed)


def test_beginnings_are_not_held_back_without_bound() -> None:
    """A first source of a few bytes does not keep the others waiting until the end."""
    put("r/a.log", b"a\n")()
    put("r/b.log", b"b" * 400_000)()
    events = follow("r", steps=[wait], settings=BY_FOLDER)
    assert [type(event) for event in events[:4]] == [Chunk, Chunk, Chunk, Tick]
    assert events[-1] == RunEnd(run_id("r", b"a\n"))


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
    assert len(follower._followed) == len(follower._tails) == len(follower._by_path) == 1
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


def test_folder_run_is_read_again_as_a_whole() -> None:
    """Growth of one source after the idle time brings all sources again, and says what is gone."""
    put("r/a.log", b"a\n")()
    put("r/b.log", b"b\n")()
    put("r/c.log", b"c\n")()

    def change() -> None:
        put("r/c.log", b"C\n")()
        os.remove("r/b.log")

    events = follow("r", steps=[idle, wait, change], settings=BY_FOLDER, checked=False)
    run = run_id("r", b"a\n")
    again = plain(events)[plain(events).index(RunEnd(run)) + 1 :]
    assert again == [
        Problem("r/b.log", "is gone and cannot be read again", run, "b"),
        Chunk(run, b"a\n", "a"),
        Chunk(run, b"c\nC\n", "c"),
        RunEnd(run),
    ]


def test_packed_files_are_read_once() -> None:
    """Packed files and archives are finished runs; one that appears is read when its size stands still."""
    put("logs/a.log.gz", gzip.compress(b"a\n"))()
    packed = gzip.compress(b"b\n" * 10)
    steps: list[Step] = [put("logs/b.log.gz", packed[:15]), put("logs/b.log.gz", packed[15:]), wait, wait]
    events = follow("logs", steps=steps)
    assert texts(events) == {("logs/a.log.gz", ""): b"a\n", ("logs/b.log.gz", ""): b"b\n" * 10}
    assert not problems(events)


def test_damaged_packed_part_marks_the_folder_run() -> None:
    """Damage in a part that was rotated before we came is a problem of the run."""
    put("r/du.log.1.gz", gzip.compress(b"one\n" * 1000)[:-4])()
    put("r/du.log", b"two\n")()
    events = follow("r", steps=[wait], settings=BY_FOLDER)
    assert texts(events) == {("r", "du"): b"one\n" * 1000 + b"two\n"}
    (problem,) = problems(events)
    assert (problem.run_id, problem.source) == (run_id("r", b"one\n" * 1000 + b"two\n"), "du")


def test_binary_files_are_reported_once() -> None:
    """A picture that appears is noted and left alone, however often it grows."""
    events = follow("logs", steps=[put("logs/a.png", b"\x89PNG\r\n\x1a\n"), put("logs/a.png", bytes(50)), wait])
    assert [(problem.path, problem.error) for problem in problems(events)] == [
        ("logs", False),
        ("logs/a.png", False),
    ]
    assert not texts(events)


def test_utf16_that_grows() -> None:
    """Half characters wait for their other half; a run is read again from its start."""
    text = "é\nEND\nß\n".encode("utf-16")
    steps: list[Step] = [put("a.log", text[start : start + 1]) for start in range(len(text))]
    more = put("a.log", "ü\n".encode("utf-16-le"))
    events = follow("a.log", steps=[*steps, idle, wait, more], end="END", checked=False)
    run = run_id("a.log@7", "ß\n".encode())
    assert plain(events)[3:] == [
        Chunk(run, "ß\n".encode()),
        RunEnd(run),
        Chunk(run, "ß\nü\n".encode()),
        RunEnd(run),
    ]


def test_half_a_character_is_not_lost() -> None:
    """When a run ends within a character, the damage is shown."""
    put("a.log", "ab".encode("utf-16") + b"c")()
    assert texts(follow("a.log", steps=[idle, wait], checked=False)) == {("a.log", ""): b"ab\xff"}


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
    denied = True

    def guarded_open(path: Path, *args: Any, **kwargs: Any) -> Any:
        if denied:
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *args, **kwargs)

    def allow() -> None:
        nonlocal denied
        denied = False

    monkeypatch.setattr("stream_triage.files.tail.open", guarded_open, raising=False)
    events = follow("r", steps=[wait, wait, allow], settings=settings)
    assert events[0] == Problem("r/a.log", "cannot be read: Permission denied")
    assert len(problems(events)) == 1
    assert list(texts(events).values()) == [b"a\n"]
