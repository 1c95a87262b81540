"""Final verdicts go in; messages of a compacted topic come out, one for each verdict, with the run id as key."""

from collections import OrderedDict
from typing import Self

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import Verdict

__all__ = ["VerdictTopic"]

# Runs whose version is remembered: compaction keeps the last message of a run, so a lower version must not be sent later.
_REMEMBERED = 10_000


class VerdictTopic:
    """Appends, as a topic does: readers use the highest `version` of a run. Provisional verdicts are not sent.

    A verdict is skipped if its version is not above that of the same run among the last 10,000 runs that were sent.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._waiting: list[tuple[str, int, Outgoing]] = []
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._closed = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Buffers a final verdict until `flush`."""
        self._check_open()
        if verdict.final:
            message = Outgoing(self._topic, verdict.run_id.encode(errors="replace"), verdict.model_dump_json().encode())
            self._waiting.append((verdict.run_id, verdict.version, message))

    def flush(self) -> None:
        """Sends what is buffered. Raises `StoreError` and keeps all of it, also if a verdict is too large for the topic."""
        self._check_open()
        newer: dict[str, tuple[int, Outgoing]] = {}
        for run_id, version, message in self._waiting:
            if version > max(self._sent.get(run_id, -1), newer.get(run_id, (-1, message))[0]):
                newer.pop(run_id, None)
                newer[run_id] = (version, message)
        if newer:
            rejected = self._broker.send([message for _, message in newer.values()])
            if rejected:
                names = ", ".join(repr((message.key or b"").decode()) for message in rejected[:3])
                raise StoreError(
                    f"verdicts of {names} are too large for the topic {self._topic}; raise its max.message.bytes"
                )
        for run_id, (version, _) in newer.items():
            self._sent[run_id] = version
            self._sent.move_to_end(run_id)
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        self._waiting.clear()

    def forget(self, run_id: str) -> bool:
        """Sends an empty message, after which compaction removes the run.

        Returns:
            False: a topic cannot be asked whether it contains a run.
        """
        self._check_open()
        self._waiting = [waiting for waiting in self._waiting if waiting[0] != run_id]
        self._sent.pop(run_id, None)
        self._broker.send([Outgoing(self._topic, run_id.encode(errors="replace"), None)])
        return False

    def close(self) -> None:
        """Flushes. The broker stays connected."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the sink to topic {self._topic} is closed; write before closing it")
