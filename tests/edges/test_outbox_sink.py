"""The outbox of alerts keeps the contract of sinks, and gives each group of alerts to one sender."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_triage.alerting.outbox import CLAIM_SECONDS, Outbox
from stream_triage.clock import FakeClock
from stream_triage.ports import Sink
from stream_triage.records import Verdict
from stream_triage.settings import AlertSettings
from tests.edges.contract import ForgetsContract
from tests.verdicts import make_verdict


class TestOutbox(ForgetsContract):
    @pytest.fixture(autouse=True)
    def _target(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.settings = AlertSettings(path=tmp_path / "alerts.sqlite", rules=("failed",))

    def open_sink(self) -> Outbox:
        return Outbox(self.settings, clock=self.clock)

    def give(self, sink: Sink, *verdicts: Verdict) -> None:
        """As failures with a label each: failures that are alike would be one alert."""
        super().give(sink, *(one.model_copy(update={"passed": False, "label": f"L/{one.run_id}"}) for one in verdicts))

    def runs(self) -> list[str]:
        """The first run of each alert, as often as runs were counted for it."""
        self.clock.advance(self.settings.gather_seconds)
        with self.open_sink() as outbox:
            return [group.verdict.run_id for group in outbox.due() for _ in range(group.runs)]

    def test_provisional_verdicts_make_no_alert(self, sink: Outbox) -> None:
        """An alert is about a final verdict."""
        self.give(sink, make_verdict("a", version=200, final=False))
        sink.flush()
        assert self.runs() == []

    def test_a_new_version_makes_no_second_alert(self, sink: Outbox) -> None:
        """Whoever was alerted of a run is not alerted again because it was judged again."""
        for version in (21, 41, 31):
            self.give(sink, make_verdict("a", version=version))
            sink.flush()
        assert self.runs() == ["a"]


class TestClaims:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def senders(self, tmp_path: Path, clock: FakeClock) -> Iterator[tuple[Outbox, Outbox]]:
        """Two processes with the same outbox, and an alert that is due."""
        settings = AlertSettings(path=tmp_path / "alerts.sqlite", rules=("failed",))
        with Outbox(settings, clock=clock) as one, Outbox(settings, clock=clock) as other:
            one.write(make_verdict("a", passed=False, label="L2"))
            one.flush()
            clock.advance(settings.gather_seconds)
            yield one, other

    def test_one_sender_for_each_alert(self, senders: tuple[Outbox, Outbox]) -> None:
        """Both have seen that it is due; only the first one that claims it may send it."""
        one, other = senders
        (seen_by_one,), (seen_by_other,) = one.due(), other.due()
        assert one.claim(seen_by_one)
        assert not other.claim(seen_by_other)
        assert not one.claim(seen_by_one)
        assert other.due() == []

    def test_claim_of_a_dead_sender_ends(self, senders: tuple[Outbox, Outbox], clock: FakeClock) -> None:
        """After some minutes another sender may claim it."""
        one, other = senders
        (group,) = one.due()
        assert one.claim(group)
        clock.advance(CLAIM_SECONDS)
        assert other.due() == [group]
        assert other.claim(group)

    def test_not_before_it_is_due(self, tmp_path: Path, clock: FakeClock) -> None:
        """An alert that still waits for runs like its own cannot be claimed, not even by who saw it when it was due."""
        settings = AlertSettings(path=tmp_path / "waiting.sqlite", rules=("failed",))
        early = FakeClock()
        with Outbox(settings, clock=early) as outbox, Outbox(settings, clock=clock) as late:
            clock.advance(settings.gather_seconds)
            outbox.write(make_verdict("a", passed=False, label="L2"))
            outbox.flush()
            (group,) = late.due()
            assert not outbox.claim(group)
            assert late.claim(group)
