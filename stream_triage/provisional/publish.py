"""Provisional verdicts in; a topic with short retention and the embedded store have them until the final verdict comes."""

from collections.abc import Callable, Sequence

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.errors import StoreError
from stream_triage.ports import Sink
from stream_triage.records import Verdict

__all__ = ["provisional_to"]


def provisional_to(
    broker: Broker | None, topic: str, store: Sink | None, on_trouble: Callable[[str], None]
) -> Callable[[Sequence[Verdict]], None]:
    """A function that writes verdicts to the topic of the broker and to the store, where there are such.

    Nothing is tried again: the next provisional verdicts come soon. What cannot be written is skipped and reported to
    `on_trouble`, once until writing succeeds again.
    """
    failing: set[str] = set()

    def publish(verdicts: Sequence[Verdict]) -> None:
        def to_topic() -> None:
            if broker:
                broker.send([_message(topic, verdict) for verdict in verdicts])

        def to_store() -> None:
            if store:
                for verdict in verdicts:
                    store.write(verdict)
                store.flush()

        for name, step in (("topic", to_topic), ("store", to_store)):
            try:
                step()
                failing.discard(name)
            except StoreError as error:
                if name not in failing:
                    on_trouble(f"provisional verdicts are not written: {error}")
                failing.add(name)

    return publish


def _message(topic: str, verdict: Verdict) -> Outgoing:
    return Outgoing(topic, verdict.run_id.encode(errors="replace"), verdict.model_dump_json().encode())
