"""Verdicts on open runs: when one is given, what it costs, and how a run that is certain to fail is reported."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from stream_triage import Triage, Verdict
from stream_triage.clock import FakeClock
from stream_triage.errors import BundleError, SettingsError, StoreError
from stream_triage.intake import Intake
from stream_triage.provisional.callback import calling
from stream_triage.provisional.live import Live
from stream_triage.provisional.publish import provisional_to
from stream_triage.records import Chunk, Evidence, RunEnd, Tick
from stream_triage.settings import load_settings
from stream_triage.sinks.memory import MemorySink
from stream_triage.stages.early_stop import EarlyStop, Limit
from tests.corpus import tiny_bundle, whole_run
from tests.receiver import Receiver, receiving
from tests.verdicts import make_verdict


class Watched:
    """An intake whose open runs get provisional verdicts."""

    def __init__(self, every: float = 10.0) -> None:
        self.clock, self.published, self.stopped = FakeClock(), list[list[Verdict]](), list[Verdict]()
        self.triage = Triage(tiny_bundle())
        self.live = Live(every, lambda verdicts: self.published.append(list(verdicts)), self.clock, self.stopped.append)
        self.sink = MemorySink()
        self.intake = Intake(self.triage, [self.sink], clock=self.clock, team_of=lambda verdict: "radio", live=self.live)

    def feed(self, run_id: str, text: bytes, seconds: float = 1.0) -> None:
        self.intake.handle(Chunk(run_id, text))
        self.clock.advance(seconds)
        self.intake.handle(Tick())

    @property
    def verdicts(self) -> list[Verdict]:
        return [verdict for verdicts in self.published for verdict in verdicts]


def test_every_ten_seconds_unless_the_label_changes() -> None:
    """A changed label is published at once."""
    watched, lines = Watched(), whole_run("L3").splitlines(keepends=True)
    for line in lines:
        watched.feed("a", line)
    published = watched.verdicts
    labels = [verdict.label for verdict in published]
    assert len(published) < len(lines)
    times = [verdict.time.timestamp() for verdict in published]
    for (label, at), (before, was) in zip(
        list(zip(labels, times, strict=True))[1:], zip(labels, times, strict=True), strict=False
    ):
        assert label != before or at - was >= 10
    assert all(not verdict.final and verdict.team == "radio" and verdict.reduction == () for verdict in published)
    assert [verdict.version for verdict in published] == sorted({verdict.version for verdict in published})


def test_it_is_the_verdict_of_the_text_so_far() -> None:
    """And the final verdict is the same as without provisional ones."""
    watched = Watched(1.0)
    text = whole_run("L3")
    for line in text.splitlines(keepends=True):
        watched.feed("a", line)
    session = Triage(tiny_bundle()).session("a")
    session.feed(text)
    wanted = session.peek()
    last = watched.verdicts[-1]
    assert (last.label, last.confidence, last.version) == (wanted.label, wanted.confidence, wanted.version)
    watched.intake.handle(RunEnd("a"))
    watched.intake.flush()
    (final,) = watched.sink.verdicts.values()
    assert (final.label, final.confidence) == (session.close().label, session.close().confidence)


def test_nothing_is_published_for_silent_and_ended_runs() -> None:
    """Nor is anything of them remembered."""
    watched = Watched(1.0)
    watched.feed("a", b"uesim starting\n")
    count = len(watched.verdicts)
    for _ in range(5):
        watched.clock.advance(60)
        watched.intake.handle(Tick())
    assert len(watched.verdicts) == count
    watched.feed("a", b"found cell 7\n", 0.0)
    watched.intake.handle(RunEnd("a"))
    watched.clock.advance(60)
    watched.intake.handle(Tick())
    assert all(verdict.run_id == "a" for verdict in watched.verdicts)
    assert watched.live._runs == {}


def test_the_last_lines_are_published_when_it_is_time() -> None:
    """The verdict that was too early is published later, once, though nothing more comes."""
    watched = Watched(10.0)
    watched.feed("a", b"uesim starting\n")
    watched.feed("a", b"found cell 7 at 3 kHz\n")
    assert [verdict.lines for verdict in watched.verdicts] in ([1], [1, 2])
    for _ in range(20):
        watched.clock.advance(1)
        watched.intake.handle(Tick())
    assert [verdict.lines for verdict in watched.verdicts] == [1, 2]


def test_a_run_is_judged_twice_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often something comes for it."""
    watched, judged = Watched(1.0), list[float]()
    session = watched.triage.session("x")
    peek = type(session).peek
    monkeypatch.setattr(type(session), "peek", lambda self: judged.append(watched.clock.monotonic()) or peek(self))
    watched.intake.handle(Tick())
    for _ in range(9):
        watched.feed("a", b"a line\n", 0.125)
    assert judged == [0.125, 0.625, 1.125]


def test_a_verdict_is_due_after_exactly_the_interval() -> None:
    """Not one look later."""
    watched = Watched(10.0)
    watched.feed("a", b"uesim starting\n", 0.0)
    watched.feed("a", b"uesim starting\n", 10.0)
    assert [verdict.lines for verdict in watched.verdicts] == [1, 2]


def test_verdicts_of_one_look_are_published_together() -> None:
    """One message to the topic and one flush of the store for all of them."""
    watched = Watched(1.0)
    watched.intake.handle(Chunk("a", b"a line\n"))
    watched.feed("b", b"a line\n")
    assert [[verdict.run_id for verdict in verdicts] for verdicts in watched.published] == [["a", "b"]]


def test_looks_take_a_third_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes 2 s is followed by 4 s without one."""
    watched = Watched(1.0)
    session = watched.triage.session("x")
    peek = type(session).peek

    def slow(self: Any) -> Verdict:
        watched.clock.advance(2.0)
        return peek(self)

    monkeypatch.setattr(type(session), "peek", slow)
    for _ in range(2):
        watched.feed("a", b"a line\n")
        watched.feed("b", b"a line\n")
    assert len(watched.published) == 1


def test_a_run_that_cannot_be_judged_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped."""
    watched = Watched(1.0)
    watched.intake.handle(Chunk("bad", b"x\n"))
    monkeypatch.setattr(watched.intake._open.live["bad"], "peek", lambda: 1 / 0)
    watched.feed("good", b"a line\n")
    assert [verdict.run_id for verdict in watched.verdicts] == ["good"]


def test_a_run_that_is_certain_to_fail_is_reported_once() -> None:
    """When the line comes; from then on each provisional verdict says so, and the final one does not."""
    watched = Watched(1.0)
    for model in watched.triage.models.values():
        terms = model.classifier.classifiers["terms"]._term_index
        weights = np.array([float("reject" in term) for term in terms], dtype=np.float32)
        model.early_stop = EarlyStop(Limit(limit=0.5, false_stops=0, passing_runs=1), weights)
    for line in whole_run("L3").splitlines(keepends=True):
        watched.feed("a", line)
    lost = [verdict.lost for verdict in watched.verdicts]
    assert lost == sorted(lost)
    assert (lost[0], lost[-1]) == (False, True)
    (reported,) = watched.stopped
    assert any("reject" in item.text for item in reported.evidence)
    watched.intake.handle(RunEnd("a"))
    watched.intake.flush()
    assert not watched.sink.verdicts["a"].lost


def test_without_a_limit_no_run_is_certain_to_fail() -> None:
    """Most bundles have none."""
    watched = Watched(1.0)
    for line in whole_run("L3").splitlines(keepends=True):
        watched.feed("a", line)
    assert watched.stopped == []


def test_an_error_in_the_early_stop_costs_no_verdict(caplog: pytest.LogCaptureFixture) -> None:
    """A limit that cannot be evaluated stops no run and is logged once; provisional and final verdicts go on."""
    watched = Watched(1.0)
    for model in watched.triage.models.values():
        model.early_stop = Broken()
    for line in whole_run("L3").splitlines(keepends=True):
        watched.feed("a", line)
    watched.intake.handle(RunEnd("a"))
    watched.intake.flush()
    assert watched.stopped == []
    assert sum(not verdict.passed for verdict in watched.verdicts) > 1
    assert list(watched.sink.verdicts) == ["a"]
    (logged,) = caplog.messages
    assert logged.startswith(
        "runs that are certain to fail are not reported: internal error: ZeroDivisionError at test_live.py"
    )


class Broken:
    """An early stop with a bug."""

    def certain_to_fail(self, seen: object) -> bool:
        return bool(1 / 0)


def test_only_what_came_counts() -> None:
    """In whichever source; the score never falls."""
    stop = EarlyStop(Limit(limit=1.5, false_stops=0, passing_runs=10), np.array([1.0, 0.0, 2.0], dtype=np.float32))
    assert stop.score([]) == 0.0
    assert stop.score([b"\1\1\0", b"\1\0\0"]) == 1.0
    assert not stop.certain_to_fail([b"\1\1\0"])
    assert stop.certain_to_fail([b"\1\1\0", b"\0\0\1"])


@pytest.mark.parametrize("weights", [[-1.0], [float("nan")], [[1.0]]])
def test_weights_that_could_let_a_score_fall_are_rejected(weights: list[float]) -> None:
    """Then a run that is certain to fail might not be so any more."""
    with pytest.raises(BundleError, match="rebuild the bundle"):
        EarlyStop(Limit(limit=1.0, false_stops=0, passing_runs=1), np.array(weights, dtype=np.float32))


@pytest.fixture
def address() -> Iterator[tuple[type[Receiver], str]]:
    with receiving() as (handler, url):
        yield handler, url.replace("json://", "http://")


FAILING = make_verdict(
    "night/1",
    passed=False,
    label="L3",
    lost=True,
    why="UE 7 registered, but got no session (du:7)",
    headers={"testbed": "<b>rack"},
    evidence=(Evidence(kind="line", weight=1.0, source="du", number=7, text="\x1b[31mreject"),),
)


class TestCallback:
    def test_says_which_run_and_why(self, address: tuple[type[Receiver], str]) -> None:
        """JSON with the labels and evidence as they are: who reads it escapes them."""
        handler, url = address
        with calling(url, FakeClock(), pytest.fail) as call:
            call(FAILING)
        (got,) = handler.got
        assert (got["run_id"], got["label"], got["labels"]) == ("night/1", "L3", {"testbed": "<b>rack"})
        assert got["why"] == FAILING.why
        assert got["evidence"] == [{"source": "du", "number": 7, "text": "\x1b[31mreject"}]

    @pytest.mark.parametrize(("status", "times"), [(500, 4), (302, 4), (404, 4)])
    def test_a_request_that_fails_four_times_is_given_up(
        self, status: int, times: int, address: tuple[type[Receiver], str]
    ) -> None:
        """Redirects are not followed. The message does not contain the address, which may contain a secret."""
        handler, url = address
        handler.answer, troubles = status, list[str]()
        with calling(f"{url}/token-1", FakeClock(), troubles.append) as call:
            call(FAILING)
        assert len(handler.got) == times
        assert troubles == [
            f"run night/1 is certain to fail, which was not sent: status {status}; check provisional.callback"
        ]

    def test_an_address_without_a_server_does_not_hold_the_worker(self) -> None:
        """The call returns at once, and the failure is reported."""
        troubles = list[str]()
        began = time.monotonic()
        with calling("http://127.0.0.1:9", FakeClock(), troubles.append) as call:
            call(FAILING)
            assert time.monotonic() - began < 1
        assert "check provisional.callback" in troubles[0]

    def test_a_server_that_never_responds_does_not_hold_the_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker ends in time, though the queue is full."""
        monkeypatch.setattr("stream_triage.provisional.callback.MAX_QUEUED", 1)
        monkeypatch.setattr("stream_triage.provisional.callback.CLOSE_SECONDS", 0.1)
        troubles = list[str]()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            with calling(f"http://127.0.0.1:{silent.getsockname()[1]}", FakeClock(), troubles.append) as call:
                for _ in range(5):
                    call(FAILING)
            assert time.monotonic() - began < 3
        assert "1 others are waiting" in troubles[0]


class Full:
    def write(self, verdict: Verdict, text: object = None) -> None: ...
    def flush(self) -> None:
        raise StoreError("the disk is full")

    def close(self) -> None: ...


def test_what_cannot_be_written_is_reported_once() -> None:
    """The next provisional verdicts come soon, and would all say the same."""
    troubles = list[str]()
    publish = provisional_to(None, "t", Full(), troubles.append)
    for _ in range(3):
        publish([FAILING])
    assert troubles == ["provisional verdicts are not written: the disk is full"]


@pytest.mark.parametrize(
    "settings", [{"callback": "http://x"}, {"callback": "ftp://x", "every_seconds": 2}, {"every_seconds": 0}]
)
def test_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    """A callback without provisional verdicts, another scheme than HTTP, no time between verdicts."""
    with pytest.raises(SettingsError, match="provisional"):
        load_settings(provisional=settings)
