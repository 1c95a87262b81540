"""Final verdicts go in; one message each comes out in a compacted topic, its key the id of the run."""

from collections import OrderedDict
from typing import Self

from stream_triage.clients.kafka import Broker, Outgoing
from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import Verdict

__all__ = ["VerdictTopic"]

# Runs whose version is remembered, so that a late verdict of a lower one is not sent behind it.
_REMEMBERED = 10_000


class VerdictTopic:
    """Appends, as a topic does: readers take the highest `version` of a run. Provisional verdicts are not sent.

    A run that is sent again within the last 10,000 with no higher version is passed over.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._waiting: list[tuple[str, int, Outgoing]] = []
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._closed = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        self._check_open()
        if verdict.final:
            message = Outgoing(self._topic, verdict.run_id.encode(errors="replace"), verdict.model_dump_json().encode())
            self._waiting.append((verdict.run_id, verdict.version, message))

    def flush(self) -> None:
        self._check_open()
        newer: dict[str, tuple[int, Outgoing]] = {}
        for run_id, version, message in self._waiting:
            if version > max(self._sent.get(run_id, -1), newer.get(run_id, (-1, message))[0]):
                newer.pop(run_id, None)
                newer[run_id] = (version, message)
        if newer:
            refused = self._broker.send([message for _, message in newer.values()])
            if refused:
                names = ", ".join(repr((message.key or b"").decode()) for message in refused[:3])
                raise StoreError(
                    f"verdicts of {names} are larger than the topic {self._topic} takes; raise its max.message.bytes"
                )
        for run_id, (version, _) in newer.items():
            self._sent[run_id] = version
            self._sent.move_to_end(run_id)
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        self._waiting.clear()

    def forget(self, run_id: str) -> bool:
        """Sends an empty message, by which compaction removes the run. False: a topic does not say what it holds."""
        self._check_open()
        self._waiting = [waiting for waiting in self._waiting if waiting[0] != run_id]
        self._sent.pop(run_id, None)
        self._broker.send([Outgoing(self._topic, run_id.encode(errors="replace"), None)])
        return False

    def close(self) -> None:
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
