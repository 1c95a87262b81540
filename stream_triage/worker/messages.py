"""Records of a topic in, messages of a run out: source, text, sequence number and headers, as the format says.

A record that cannot be used raises `RejectedMessage`; `as_dead_letter` keeps it with the reason. The limits in this file
bound what one sender can make a worker remember.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.clients.json_fields import LABELS, as_text, look_up
from stream_triage.records import ORIGIN_HEADER, REPLAYED_HEADER, DeadLetter, Record, cut, split_origin

__all__ = [
    "RUN_ENDED",
    "RUN_FORGOTTEN",
    "Message",
    "MessageReader",
    "RejectedMessage",
    "as_dead_letter",
    "as_dead_letters",
    "digest_of",
    "late_lines_as_dead_letters",
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
# A message may be cut into so many parts.
MAX_PARTS: Final = 10_000
# Senders' clocks may show anything. A timestamp outside these years is not the start of a test run.
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000  # 2000-01-01, 2100-01-01


class RejectedMessage(Exception):
    """The message cannot be used; the text says why."""


class Part(NamedTuple):
    """Which part of a message this is, from 1. `check` is the same for all parts of a message, and of no other."""

    number: int
    total: int
    check: str


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
    epoch: str = ""
    """Names the numbering that `seq` belongs to; empty if the sender names none."""
    digest: int = 0
    """Of text and end, if the message has a number; see `digest_of`."""
    part: "Part | None" = None
    """Which part this is of the message with this number; None if it is whole."""
    sources: int | None = None
    """How many sources the run has, if the sender says so."""
    doubt: str = ""
    """What the sender may have meant otherwise, for the verdict."""
    origin: str = ""
    """Where the message was rejected first, if `replay-dead` sent it again."""
    parts: "tuple[Message, ...]" = ()
    """The parts that were joined to this message, in order. Each of them is rejected, and sent again, by itself."""

    @property
    def origins(self) -> list[str]:
        """Where it was rejected first, or its parts were, as far as `replay-dead` sent them again."""
        return [one.origin for one in self.parts or (self,) if one.origin]

    def joined(self, parts: "Sequence[Message]") -> "Message":
        """The message that these parts make, in order; this is the one that came last."""
        text = None if all(part.text is None for part in parts) else b"".join(part.text or b"" for part in parts)
        ends = any(part.ends_source for part in parts)
        headers = {name: value for part in parts for name, value in part.headers.items()}
        digest = digest_of(text, ends)
        return self._replace(text=text, ends_source=ends, headers=headers, digest=digest, part=None, parts=tuple(parts))


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
        source, seq = headers.pop("source", ""), _sequence_number(headers.pop("seq", None))
        epoch, part, end, sources, doubt = "", None, False, None, ""
        if headers:  # most messages have no others, and this is done for each of them
            if seq is not None:  # without it, these mean nothing, and are headers like others
                epoch, part = _epoch(headers.pop("seq.epoch", "")), _part(headers.pop("seq.part", None))
            end, doubt = _said(headers.pop("end", None), "the header end")
            sources, doubt = _source_count(headers.pop("run.sources", None), doubt)
        text = None if end and not record.value else record.value
        if part and self._is_json:
            raise RejectedMessage("the header seq.part is for topics of text, and kafka.format is json")
        if text is not None and self._is_json:
            text, source, end, doubt = self._read_json(_json_object(text), source, end, doubt, headers)
        if len(source) > MAX_HEADER_CHARACTERS:
            raise RejectedMessage(f"the name of its source is longer than {MAX_HEADER_CHARACTERS} characters")
        kept = headers
        if headers:
            kept = {name[:MAX_HEADER_CHARACTERS]: value[:MAX_HEADER_CHARACTERS] for name, value in headers.items()}
        digest = 0 if seq is None else digest_of(text, end)
        return Message(record, source, text, seq, end, kept, kept != headers, epoch, digest, part, sources, doubt, origin)

    def _read_json(
        self, fields: Mapping[str, Any], source: str, end: bool, doubt: str, headers: dict[str, str]
    ) -> tuple[bytes | None, str, bool, str]:
        """Text, source, end, doubt. Headers outrank fields of the same meaning; `headers` gets those named in `LABELS`."""
        text = self._json_text(fields)
        source = source or as_text(look_up(fields, self._source_field))
        field_end, field_doubt = _said(look_up(fields, self._end_field), f"the JSON field {self._end_field}")
        end, doubt = end or field_end, doubt or field_doubt
        for name in LABELS:
            if value := as_text(look_up(fields, name)):
                headers.setdefault(name, value)
        if text is None and not end:
            raise RejectedMessage(f"the JSON object has no field {self._text_field}; kafka.json_text names it")
        return text, source, end, doubt

    def _json_text(self, fields: Mapping[str, Any]) -> bytes | None:
        text = look_up(fields, self._text_field)
        if text is None:
            return None
        if not isinstance(text, str):
            raise RejectedMessage(f"the JSON field {self._text_field} is not a string")
        return text.encode(errors="replace")


def run_key(record: Record | DeadLetter) -> str:
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
    if not key.strip():
        raise RejectedMessage("the key consists of blanks")
    return key


def as_dead_letter(record: Record, reason: str, value: bytes | None = None) -> DeadLetter:
    """The rejected record with the reason; `value` is the part of it that is rejected, if not all of it."""
    first, replays = _origin(record)
    headers = tuple(header for header in record.headers if header[0] not in (ORIGIN_HEADER, REPLAYED_HEADER))
    origin = first or f"{record.topic}/{record.partition}/{record.offset}"
    return DeadLetter("message", reason, origin, record.key, record.value if value is None else value, headers, replays)


def as_dead_letters(message: Message, reason: str) -> list[DeadLetter]:
    """The rejected message, whole: one letter for each of its parts, since each has an origin of its own."""
    return [as_dead_letter(one.record, reason) for one in message.parts or (message,)]


def late_lines_as_dead_letters(message: Message, reason: str, late: Sequence[tuple[int, bytes]]) -> list[DeadLetter]:
    """The rejected lines of a message; of each of its parts, the lines that it brought.

    Args:
        message: The message, of the format `text`.
        reason: Why they are rejected.
        late: Where each of them begins in the text of the message, and the line itself; in order.
    """
    letters, begin = [], 0
    for one in message.parts or (message,):
        end = begin + len(one.text or b"")
        value = b"".join(line[max(0, begin - at) : max(0, end - at)] for at, line in late)
        if value:
            headers = tuple(header for header in one.record.headers if header[0] != "seq.part")  # no part is whole any more
            letters.append(as_dead_letter(one.record._replace(headers=headers), reason, value))
        begin = end
    return letters


def letter_name(record: Record) -> str:
    """The `DeadLetter.name` that this record would have as a dead letter."""
    first, replays = _origin(record)
    origin = first or f"{record.topic}/{record.partition}/{record.offset}"
    return DeadLetter("message", "", origin, None, None, replays=replays).name


def _origin(record: Record) -> tuple[str, int]:
    """Where a replayed message was rejected first, and how often it was sent again; empty for any other message."""
    if not record.headers:
        return "", 0
    headers = dict(record.headers)
    if ORIGIN_HEADER not in headers:
        return "", 0
    origin = (headers[ORIGIN_HEADER] or b"").decode(errors="replace")
    if not split_origin(origin):
        return "", 0
    replays = (headers.get(REPLAYED_HEADER) or b"").decode(errors="replace")
    return origin, int(replays) if replays.isascii() and replays.isdigit() and len(replays) < 10 else 1


def digest_of(text: bytes | None, ends_source: bool) -> int:
    """A digest of what a message means; never 0. It is compared within one process only.

    >>> digest_of(b"a", False) == digest_of(b"a", False) != digest_of(b"a", True)
    True
    """
    return hash((text, ends_source)) or 1


def _epoch(text: str) -> str:
    if len(text) > MAX_HEADER_CHARACTERS:
        raise RejectedMessage(f"the header seq.epoch is longer than {MAX_HEADER_CHARACTERS} characters")
    return text


def _sequence_number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RejectedMessage("the header seq is not a whole number from 0 on")
    return int(text)


def _part(text: str | None) -> Part | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})(?:/(\w{1,64}))?", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or not 1 <= number <= count <= MAX_PARTS:
        raise RejectedMessage(f"the header seq.part is not of the form 1/3 or 1/3/CHECKSUM, with up to {MAX_PARTS} parts")
    return Part(number, count, match[3] or "") if count > 1 else None


def _said(value: Any, name: str) -> tuple[bool, str]:
    """Whether a value says yes, and the doubt if it says neither yes nor no."""
    if value is None or value == "":
        return False, ""
    word = str(value).strip().lower()
    if value == 1 or word in ("1", "true"):
        return True, ""
    no = word in ("", "0", "false")
    return False, "" if no else f"{name} is {_shown(word)}; only 1 and true end a source"


def _source_count(text: str | None, doubt: str) -> tuple[int | None, str]:
    """How many sources the run has, if that is a usable number, and the doubt."""
    if text is None:
        return None, doubt
    if text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MAX_SOURCES:
        return int(text), doubt
    return None, doubt or f"the header run.sources is {_shown(text)}, and not a number from 1 to {MAX_SOURCES}"


def _shown(value: str) -> str:
    return repr(cut(value, 40))


def _json_object(text: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise RejectedMessage("the message is not JSON; kafka.format says it should be") from None
    if not isinstance(fields, dict):
        raise RejectedMessage("the message is not a JSON object")
    return fields
