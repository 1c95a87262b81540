"""The state table of runs, field by field: a partition in the state of the column meets the event of the row."""

from collections.abc import Callable, Iterable

import pytest

from stream_triage.records import Chunk, ClosedRun, DeadLetter, Problem, Record, RunEnd
from stream_triage.worker.runs import Item, PartitionRuns, RunRules
from stream_triage.worker.transitions import TABLE, Action, Event, State

IDLE_SECONDS, GRACE_SECONDS, MAX_SECONDS, MAX_BYTES = 10.0, 2.0, 100.0, 100
FULL = b"x" * MAX_BYTES + b"\n"


class Key:
    """One key of a partition; its only source is numbered if the state needs held messages."""

    def __init__(self, *closed: ClosedRun, grace: float = 0.0) -> None:
        rules = RunRules(
            start_pattern="^START", end_pattern="^END",
            idle_seconds=IDLE_SECONDS, end_grace_seconds=grace, max_run_seconds=MAX_SECONDS, max_run_bytes=MAX_BYTES,
        )  # fmt: skip
        self.runs = PartitionRuns(rules, closed)
        self.now = 0.0
        self.offset = 0

    def put(self, value: bytes = b"text\n", seq: int | None = None, end: bool = False) -> list[Item]:
        headers = [("seq", b"%d" % seq)] if seq is not None else []
        headers += [("end", b"1")] if end else []
        record = Record("logs", 0, self.offset, 0, b"a", value, tuple(headers))
        self.offset += 1
        return self.runs.take(record, self.now)

    def wait(self, seconds: float, *, silence: bool) -> list[Item]:
        self.now += seconds
        if silence:
            self.runs.read_up_to(self.offset, self.now)
        return self.runs.idle(self.now)

    @property
    def state(self) -> State:
        return self.runs._state("a")


def outcome(items: Iterable[Item]) -> list[str]:
    """What happened, in order: text and its run, ends, cuts and dead letters."""
    shown = []
    for item in items:
        if isinstance(item, Chunk):
            shown.append(f"{item.run_id}: {item.data.decode().strip()[:8]}")
        elif isinstance(item, RunEnd):
            shown.append(f"end {item.run_id}")
        elif isinstance(item, DeadLetter):
            shown.append(f"rejected {(item.value or b'').decode().strip()}")
        elif isinstance(item, Problem) and item.reason.startswith("cut"):
            shown.append("cut")
    return shown


def unused() -> Key:
    return Key()


def early() -> Key:
    """Message 1 is held."""
    key = Key()
    key.put(b"held\n", seq=1)
    return key


def opened() -> Key:
    key = Key()
    key.put(b"first\n")
    return key


def ended() -> Key:
    key = Key()
    key.put(b"first\n", end=True)
    return key


def cut() -> Key:
    key = Key()
    key.put(FULL)
    return key


BUILD: dict[State, Callable[[], Key]] = {
    State.UNUSED: unused, State.EARLY: early, State.OPEN: opened, State.ENDED: ended, State.CUT: cut
}  # fmt: skip


@pytest.mark.parametrize("state", BUILD, ids=lambda state: state.name)
def test_states(state: State):
    """The rows below start where they say."""
    assert BUILD[state]().state is state


def silence(key: Key) -> list[Item]:
    return key.wait(IDLE_SECONDS, silence=True)


def long_time(key: Key) -> list[Item]:
    return key.wait(MAX_SECONDS, silence=False)


# State, event, action, what brings the event, what is seen.
ROWS: list[tuple[State, Event, Action, Callable[[Key], list[Item]], list[str]]] = [
    (State.UNUSED, Event.TEXT, Action.BEGIN, lambda key: key.put(), ["a: text"]),
    (State.EARLY, Event.TEXT, Action.ADD, lambda key: key.put(seq=0), ["a: text", "a: held"]),
    (State.OPEN, Event.TEXT, Action.ADD, lambda key: key.put(), ["a: text"]),
    (State.ENDED, Event.TEXT, Action.REJECT, lambda key: key.put(), ["rejected text"]),
    (State.ENDED, Event.TEXT, Action.REJECT, lambda key: key.put(b"", end=True), []),
    (State.CUT, Event.TEXT, Action.BEGIN, lambda key: key.put(), ["a@1: text"]),
    (State.EARLY, Event.START_LINE, Action.ADD, lambda key: key.put(b"START\n", seq=0), ["a: START", "a: held"]),
    (State.OPEN, Event.START_LINE, Action.END, lambda key: key.put(b"START\n"), ["end a", "a@1: START"]),
    (State.ENDED, Event.START_LINE, Action.BEGIN, lambda key: key.put(b"START\n"), ["a@1: START"]),
    (State.CUT, Event.START_LINE, Action.BEGIN, lambda key: key.put(b"START\n"), ["a@1: START"]),
    (State.OPEN, Event.END_LINE, Action.END, lambda key: key.put(b"END\n"), ["a: END", "end a"]),
    (State.ENDED, Event.END_LINE, Action.NONE, lambda key: key.put(b"END\n"), ["rejected END"]),
    # The end line made the run too long; it is cut, and does not end once more.
    (State.CUT, Event.END_LINE, Action.NONE, lambda key: key.put(b"END" + FULL), ["a@1: ENDxxxxx", "cut", "end a@1"]),
    (State.OPEN, Event.SOURCES_ENDED, Action.END, lambda key: key.put(end=True), ["a: text", "end a"]),
    (State.ENDED, Event.SOURCES_ENDED, Action.NONE, lambda key: key.put(end=True), ["rejected text"]),
    (State.CUT, Event.SOURCES_ENDED, Action.NONE, lambda key: key.put(FULL, end=True), ["a@1: xxxxxxxx", "cut", "end a@1"]),
    (State.OPEN, Event.BYTE_LIMIT, Action.CUT, lambda key: key.put(FULL), ["a: xxxxxxxx", "cut", "end a"]),
    (State.EARLY, Event.SILENCE, Action.END, silence, ["a: held", "end a"]),
    (State.OPEN, Event.SILENCE, Action.END, silence, ["end a"]),
    (State.EARLY, Event.TIME_LIMIT, Action.CUT, long_time, ["cut", "a: held", "end a"]),
    (State.OPEN, Event.TIME_LIMIT, Action.CUT, long_time, ["cut", "end a"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "event", "action", "bring", "seen"), ROWS, ids=[f"{row[1].name} in {row[0].name}" for row in ROWS]
)
def test_field(state: State, event: Event, action: Action, bring: Callable[[Key], list[Item]], seen: list[str]):
    """The table names the action, and a partition does it."""
    assert TABLE[event][state] is action
    assert outcome(bring(BUILD[state]())) == seen


# A run is closing while what it held is passed on; the event is in a message that was held.
CLOSING: list[tuple[Event, Action, bytes, bool, list[str]]] = [
    (Event.TEXT, Action.ADD, b"late\n", False, ["a: late", "end a"]),
    (Event.START_LINE, Action.END, b"START\nmore\n", False, ["end a", "a@1: START\nmo"]),
    (Event.END_LINE, Action.END, b"END\nmore\n", False, ["a: END", "end a", "rejected more"]),
    (Event.SOURCES_ENDED, Action.END, b"last\n", True, ["a: last", "end a"]),
    (Event.BYTE_LIMIT, Action.NONE, FULL, False, ["a: xxxxxxxx", "end a"]),
]


@pytest.mark.parametrize(("event", "action", "held", "end", "seen"), CLOSING, ids=[row[0].name for row in CLOSING])
def test_field_of_a_closing_run(event: Event, action: Action, held: bytes, end: bool, seen: list[str]):
    """What is held decides too, and no run ends twice."""
    assert TABLE[event][State.CLOSING] is action
    key = Key()
    key.put(b"first\n", seq=0)
    key.put(held, seq=2, end=end)
    assert outcome(key.wait(IDLE_SECONDS, silence=True)) == seen


@pytest.mark.parametrize("first", [b"first\n", b""], ids=["OPEN", "EARLY"])
@pytest.mark.parametrize("was_cut", [False, True])
def test_field_of_a_run_that_is_read_again(first: bytes, was_cut: bool):
    """It ends as it ended the first time, whatever the clock says; its continuation begins only if it was cut."""
    event, state = Event.RECORDED_CUT if was_cut else Event.RECORDED_END, State.OPEN if first else State.EARLY
    assert TABLE[event][state] is (Action.CUT if was_cut else Action.END)
    key = Key(ClosedRun("a", "a", 0, 1, cut=was_cut))
    key.put(first or b"held\n", seq=0 if first else 1)
    assert key.state is state
    assert key.wait(10 * MAX_SECONDS, silence=True) == []
    key.offset = 2  # the second message is not kept any more
    items = key.put(b"later\n")
    assert outcome(items) == [
        *(["cut"] if was_cut else []), *([] if first else ["a: held"]), "end a",
        "a@2: later" if was_cut else "rejected later",
    ]  # fmt: skip
    assert not [item for item in items if isinstance(item, ClosedRun)], "its end is recorded already"


def test_field_of_a_run_that_waits_for_more_sources():
    """All its sources have ended; it ends when the grace time is over, and not before."""
    assert TABLE[Event.GRACE_OVER][State.OPEN] is Action.END
    key = Key(grace=GRACE_SECONDS)
    assert outcome(key.put(b"first\n", end=True)) == ["a: first"]
    assert key.state is State.OPEN
    assert key.wait(GRACE_SECONDS / 2, silence=True) == []
    assert outcome(key.wait(GRACE_SECONDS / 2, silence=True)) == ["end a"]


# Fields that no input reaches, and why.
UNREACHABLE = {
    # The run begins, held or not, before its first piece is looked at.
    (State.UNUSED, Event.START_LINE),
    # Nothing of an early run was passed on, and these events come after text was.
    (State.EARLY, Event.END_LINE), (State.EARLY, Event.SOURCES_ENDED), (State.EARLY, Event.BYTE_LIMIT),
    # A source has ended only if its end was passed on.
    (State.EARLY, Event.GRACE_OVER),
    # Text and ends begin a run under an unused key.
    (State.UNUSED, Event.END_LINE), (State.UNUSED, Event.SOURCES_ENDED),
    # Only an open run grows, and only open runs are looked at when time passes.
    *((state, event) for state in (State.UNUSED, State.ENDED, State.CUT)
      for event in (Event.BYTE_LIMIT, Event.SILENCE, Event.TIME_LIMIT, Event.GRACE_OVER, Event.RECORDED_END,
                    Event.RECORDED_CUT)),
    # A run closes within one step.
    *((State.CLOSING, event)
      for event in (Event.SILENCE, Event.TIME_LIMIT, Event.GRACE_OVER, Event.RECORDED_END, Event.RECORDED_CUT)),
}  # fmt: skip


def test_each_field_has_a_row():
    """Of every pair of state and event, something above says what happens, or that it cannot."""
    rows = {(state, event) for state, event, *_ in ROWS} | {(State.CLOSING, event) for event, *_ in CLOSING}
    rows |= {(state, event) for state in (State.OPEN, State.EARLY) for event in (Event.RECORDED_END, Event.RECORDED_CUT)}
    rows.add((State.OPEN, Event.GRACE_OVER))
    assert rows.isdisjoint(UNREACHABLE)
    assert rows | UNREACHABLE == {(state, event) for state in State for event in Event}
    assert all(len(row) == len(State) for row in TABLE.values())
