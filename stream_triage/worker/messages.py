"""Records of a topic in, messages of a run out: source, text, sequence number and headers, as the format says.

A record that cannot be used raises `RejectedMessage`; `as_dead_letter` keeps it with the reason. The limits in this file
bound what one sender can make a worker remember.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from stream_triage.clients.json_fields import LABELS, as_text, look_up
from stream_triage.records import ORIGIN_HEADER, REPLAYED_HEADER, DeadLetter, Record, split_origin

__all__ = [
    "RUN_ENDED",
    "RUN_FORGOTTEN",
    "Message",
    "MessageReader",
    "RejectedMessage",
    "as_dead_letter",
    "letter_name",
    "run_key",
]

# Reasons of dead letters that `replay-dead` does not send again by itself.
RUN_ENDED: Final = "its run has ended"
RUN_FORGOTTEN: Final = "its run was forgotten"

MAX_KEY_BYTES: Final = 1024
# Of one run. A test environment has tens of sources; without a limit, a sender that puts a time into the name of its
# source would fill the memory.
MAX_SOURCES: Final = 256
MAX_HEADERS: Final = 64
# Of the name of a source, and of the name and the value of a header.
MAX_HEADER_CHARACTERS: Final = 1024
# Senders' clocks may show anything. A timestamp outside these years is not the start of a test run.
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000  # 2000-01-01, 2100-01-01


class RejectedMessage(Exception):
    """The message cannot be used; the text says why."""


class Message(NamedTuple):
    """A record, read by the rules of its topic."""

    record: Record
    source: str
    text: bytes | None
    """None if the message only says that its source has ended, and for a tombstone."""
    seq: int | None
    ends_source: bool
    headers: dict[str, str]
    headers_cut: bool
    """Whether a header was longer than `MAX_HEADER_CHARACTERS`."""
    origin: str = ""
    """Where the message was rejected first, if `replay-dead` sent it again."""


class MessageReader:
    """Reads records of one format, `text` or `json`; the names are those of the fields of a JSON object."""

    def __init__(self, format: str, text_field: str, source_field: str, end_field: str) -> None:  # noqa: A002 - as the setting
        self._is_json = format == "json"
        self._text_field = text_field
        self._source_field = source_field
        self._end_field = end_field

    def read(self, record: Record) -> Message:
        """The message of a record. Raises `RejectedMessage`."""
        headers: dict[str, str] = {}
        for name, raw in record.headers:
            headers.setdefault(name, (raw or b"").decode(errors="replace"))
        origin, _ = _origin(record)
        for name in (ORIGIN_HEADER, REPLAYED_HEADER):
            headers.pop(name, None)
        seq = _sequence_number(headers.pop("seq", None))
        source, end = headers.pop("source", ""), headers.pop("end", "") == "1"
        text = None if end and not record.value else record.value
        if text is not None and self._is_json:
            text, source, end = self._read_json(_json_object(text), source, end, headers)
        if len(source) > MAX_HEADER_CHARACTERS:
            raise RejectedMessage(f"the name of its source is longer than {MAX_HEADER_CHARACTERS} characters")
        kept = headers
        if headers:  # most messages have none, and this is done for each of them
            kept = {name[:MAX_HEADER_CHARACTERS]: value[:MAX_HEADER_CHARACTERS] for name, value in headers.items()}
        return Message(record, source, text, seq, end, kept, kept != headers, origin)

    def _read_json(
        self, fields: Mapping[str, Any], source: str, end: bool, headers: dict[str, str]
    ) -> tuple[bytes | None, str, bool]:
        """Text, source and end. Headers outrank fields of the same meaning; `headers` gets the fields named in `LABELS`."""
        text = self._json_text(fields)
        source = source or as_text(look_up(fields, self._source_field))
        end = end or look_up(fields, self._end_field) in (True, 1, "1", "true")
        for name in LABELS:
            if value := as_text(look_up(fields, name)):
                headers.setdefault(name, value)
        if text is None and not end:
            raise RejectedMessage(f"the JSON object has no field {self._text_field}; kafka.json_text names it")
        return text, source, end

    def _json_text(self, fields: Mapping[str, Any]) -> bytes | None:
        text = look_up(fields, self._text_field)
        if text is None:
            return None
        if not isinstance(text, str):
            raise RejectedMessage(f"the JSON field {self._text_field} is not a string")
        return text.encode(errors="replace")


def run_key(record: Record) -> str:
    """The key of a record, which names its run. Raises `RejectedMessage`.

    The key becomes part of file names, of pages and of lines on a terminal, hence no control characters.
    """
    if not record.key:
        raise RejectedMessage("no key: the key of a message is the id of its run")
    if len(record.key) > MAX_KEY_BYTES:
        raise RejectedMessage(f"the key is longer than {MAX_KEY_BYTES} bytes")
    try:
        key = record.key.decode()
    except UnicodeDecodeError:
        raise RejectedMessage("the key is not UTF-8") from None
    if not key.isprintable():
        raise RejectedMessage("the key contains control characters")
    return key


def as_dead_letter(record: Record, reason: str, value: bytes | None = None) -> DeadLetter:
    """The rejected record with the reason; `value` is the part of it that is rejected, if not all of it."""
    first, replays = _origin(record)
    headers = tuple(header for header in record.headers if header[0] not in (ORIGIN_HEADER, REPLAYED_HEADER))
    origin = first or f"{record.topic}/{record.partition}/{record.offset}"
    return DeadLetter("message", reason, origin, record.key, record.value if value is None else value, headers, replays)


def letter_name(record: Record) -> str:
    """The `DeadLetter.name` that this record would have as a dead letter."""
    return as_dead_letter(record, "").name


def _origin(record: Record) -> tuple[str, int]:
    """Where a replayed message was rejected first, and how often it was sent again; empty for any other message."""
    if not record.headers:
        return "", 0
    headers = dict(record.headers)
    origin = (headers.get(ORIGIN_HEADER) or b"").decode(errors="replace")
    if not split_origin(origin):
        return "", 0
    replays = (headers.get(REPLAYED_HEADER) or b"").decode(errors="replace")
    return origin, int(replays) if replays.isascii() and replays.isdigit() and len(replays) < 10 else 1


def _sequence_number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RejectedMessage("the header seq is not a whole number from 0 on")
    return int(text)


def _json_object(text: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise RejectedMessage("the message is not JSON; kafka.format says it should be") from None
    if not isinstance(fields, dict):
        raise RejectedMessage("the message is not a JSON object")
    return fields
