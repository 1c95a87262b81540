"""The store in memory behaves like the other stores."""

import pytest

from stream_triage.clock import FakeClock
from stream_triage.sinks.memory import MemorySink
from tests.edges.contract import StoreContract
from tests.verdicts import make_verdict


class TestMemorySink(StoreContract):
    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.clock = FakeClock()
        self.opened: MemorySink | None = None

    def open_sink(self) -> MemorySink:
        """Memory ends with its sink, so within a test each sink continues with what the one before has."""
        sink = MemorySink(self.clock)
        if self.opened is not None:
            sink.verdicts, sink._times = self.opened.verdicts, self.opened._times
        self.opened = self.opened or sink
        return sink


def test_shows_every_verdict_in_order() -> None:
    """`written` contains the replaced verdicts too, from the flush on."""
    sink = MemorySink()
    verdicts = [make_verdict("a", version=2, final=False), make_verdict("b"), make_verdict("a", version=3)]
    for verdict in verdicts:
        sink.write(verdict)
    assert sink.written == []
    sink.flush()
    assert sink.written == verdicts
    assert sink.verdicts == {"a": verdicts[2], "b": verdicts[1]}
