"""Dead letters in; messages back to their topic and documents back to OpenSearch, each once.

The command `replay-dead`. Copies of a letter, which a worker writes when it dies between two steps, have the same origin
and count as one. A message is sent with its origin in a header. A worker takes each origin once, so that a call that was
killed half-way can be repeated, and two calls at once do no harm.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, SearchServer
from stream_triage.errors import StoreError
from stream_triage.records import ORIGIN_HEADER, REPLAYED_HEADER, DeadLetter, split_origin
from stream_triage.settings import KafkaSettings, Settings
from stream_triage.sinks.dead_letters import as_letter
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.stages.redact import Redactor
from stream_triage.worker.forgotten import ForgottenRuns
from stream_triage.worker.messages import RUN_ENDED, RUN_FORGOTTEN

__all__ = ["LATE", "replay_dead"]

LATE = f"left: {RUN_ENDED}"
"""The outcome of letters whose lines came too late."""
_COPY = "left: another copy of a letter that is or was dealt with"


def replay_dead(settings: Settings, *, dry_run: bool = False, reason: str | None = None) -> Counter[str]:
    """Sends dead letters again: messages to their topic, documents to OpenSearch if it is among the sinks.

    The consumer group `<group>-replay-dead` stores the position, so each letter is dealt with once. These stay where they
    are: runs that could not be judged, messages that are too large for the topic, documents that are rejected again,
    everything of runs that were forgotten, and lines that came after the end of their run. The last ones would be too late
    again: they are sent once, and only if `reason` asks for them, as after a change of `kafka.start_pattern`. It finds those
    that earlier calls left, too.

    The whole topic of dead letters is read into memory.

    Args:
        settings: Topics, and the cluster.
        dry_run: Only count; send nothing and leave the position where it is. What would be rejected counts as sent.
        reason: Only letters whose reason contains this text.

    Returns:
        The number of letters, by `sent: REASON` and `left: REASON`.
    """
    kafka = settings.kafka
    with ExitStack() as stack:
        broker = stack.enter_context(KafkaBroker(kafka))
        search = stack.enter_context(OpenSearchClient(settings.opensearch)) if "opensearch" in settings.sinks else None
        new, counts = _new_letters(broker, kafka, reason or "")
        messages: list[DeadLetter] = []
        documents: list[tuple[Document, str]] = []
        forgotten = _Forgotten(broker, settings)
        for letter in new.letters:
            document = Document.from_origin(letter.origin, letter.value) if letter.value is not None else None
            if why := _why_left(letter, reason or "", forgotten):
                counts[why] += 1
            elif letter.kind == "message":
                messages.append(letter)
            elif search and letter.kind == "document" and document:
                documents.append((document, letter.reason))
            else:
                counts[f"left: {letter.reason}"] += 1
        if dry_run:
            reasons = [letter.reason for letter in messages] + [why for _, why in documents]
            return counts + Counter(f"sent: {why}" for why in reasons)
        if search:
            counts += _send_documents(search, documents)
        counts += _send_messages(broker, kafka.topic, messages)
        for partition, end in new.ends.items():
            broker.commit(_group(kafka), kafka.dead_topic, partition, end)
    return counts


class _NewLetters(NamedTuple):
    letters: list[DeadLetter]
    """Those that no call has dealt with, without copies."""
    ends: dict[int, int]
    """By partition that has new letters, the offset after the last one."""


def _new_letters(broker: Broker, kafka: KafkaSettings, reason: str) -> tuple[_NewLetters, Counter[str]]:
    """Of several copies the last one counts: the one that a worker wrote in its last life, from which it went on.

    Also returns how many copies there are.
    """
    done: set[str] = set()
    found: dict[str, DeadLetter] = {}
    replayed: set[str] = set()
    ends: dict[int, int] = {}
    copies = 0
    for partition in range(broker.partitions([kafka.dead_topic]).get(kafka.dead_topic, 0)):
        start = broker.committed(_group(kafka), kafka.dead_topic, partition)
        for record in broker.read(kafka.dead_topic, partition):
            letter = as_letter(record)
            name = _name(letter, f"{partition}/{record.offset}")
            if letter.replays:
                replayed.add(letter.origin)
            if record.offset >= start:
                ends[partition] = record.offset + 1
                copies += name in found or name in done
                found[name] = letter
            elif _is_late(letter) and not letter.replays and reason and reason in letter.reason:
                found[name] = letter
            else:
                done.add(name)
    new = [
        letter
        for name, letter in found.items()
        if name not in done and not (_is_late(letter) and not letter.replays and letter.origin in replayed)
    ]
    return _NewLetters(new, ends), Counter({_COPY: copies} if copies else {})


def _is_late(letter: DeadLetter) -> bool:
    return letter.kind == "message" and letter.reason == RUN_ENDED


def _name(letter: DeadLetter, place: str) -> str:
    """The same for copies. A run has no message of its own, and letters of other programs may have no origin."""
    if letter.kind == "run" or not letter.origin:
        return place
    return f"{letter.kind} {letter.name}"


class _Forgotten:
    """Tells which letters are of runs that were forgotten. Reads the run log with the first question."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._kafka = settings.kafka
        self._shown_id = Redactor.from_settings(settings.redaction).run_id
        self._read: dict[str, ForgottenRuns] | None = None

    def includes(self, letter: DeadLetter) -> bool:
        """Whether the letter is of a run that was forgotten after the letter came."""
        if self._read is None:
            self._read = dict(self._partitions())
        key = (letter.key or b"").decode(errors="replace")
        if letter.kind == "document":
            return any(marks.includes_id(key) for marks in self._read.values())
        origin = split_origin(letter.origin)
        marks = self._read.get(origin[0]) if origin else None
        return origin is not None and marks is not None and marks.includes_message(key, origin[1])

    def _partitions(self) -> Iterator[tuple[str, ForgottenRuns]]:
        kafka = self._kafka
        log = RunLogTopic(self._broker, kafka.runs_topic, kafka.group, kafka.topic)
        for partition in range(self._broker.partitions([kafka.runs_topic]).get(kafka.runs_topic, 0)):
            yield f"{kafka.topic}/{partition}", ForgottenRuns(log.read(partition).forgotten, self._shown_id)


def _why_left(letter: DeadLetter, reason: str, forgotten: _Forgotten) -> str:
    """Why a letter is not sent; empty if it is."""
    if reason not in letter.reason or letter.value is None:
        return f"left: {letter.reason}"
    if _is_late(letter):
        if letter.replays:
            return f"{LATE}, also when its lines were sent again"
        if not reason:
            return LATE
    return f"left: {RUN_FORGOTTEN}" if forgotten.includes(letter) else ""


def _send_messages(broker: Broker, topic: str, letters: list[DeadLetter]) -> Counter[str]:
    """In the order in which they came first, so that lines of one run are in order."""
    letters = sorted(letters, key=lambda letter: split_origin(letter.origin) or ("", 0))
    partitions = broker.partitions([topic]).get(topic, 0)
    messages = [_again(topic, partitions, letter) for letter in letters]
    too_large = {id(message) for message in broker.send(messages)}
    return Counter(
        f"left: too large for the topic {topic}" if id(message) in too_large else f"sent: {letter.reason}"
        for message, letter in zip(messages, letters, strict=True)
    )


def _again(topic: str, partitions: int, letter: DeadLetter) -> Outgoing:
    """To the partition where it was rejected, where its run is: the topic may have grown, and the key belong elsewhere."""
    place, _ = split_origin(letter.origin) or ("", 0)
    first_topic, _, number = place.rpartition("/")
    partition = int(number) if first_topic == topic and int(number) < partitions else None
    added = ((ORIGIN_HEADER, letter.origin.encode()), (REPLAYED_HEADER, b"%d" % (letter.replays + 1)))
    return Outgoing(topic, letter.key, letter.value, (*letter.headers, *added), partition)


def _send_documents(search: SearchServer, documents: list[tuple[Document, str]]) -> Counter[str]:
    responses = search.bulk([document for document, _ in documents])
    if any(response.busy for response in responses):
        raise StoreError("OpenSearch is too busy to take documents; repeat, what was written already is skipped")
    return Counter(
        f"sent: {why}" if response.written else f"left: {response.reason}"
        for (_, why), response in zip(documents, responses, strict=True)
    )


def _group(kafka: KafkaSettings) -> str:
    return f"{kafka.group}-replay-dead"
