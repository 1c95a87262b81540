"""Records go in, in order; the cursor up to which the Kafka broker has all of them comes out.

This is the only module that imports kafka-python.
"""

import contextlib
import logging
import ssl
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from triage_ship.errors import ShipError
from triage_ship.spool import Cursor, Record

__all__ = ["Broker", "Sender", "TooLarge", "Unavailable"]

# Enough to keep a connection busy, and a bound for the memory and for what is sent again after a lost connection.
IN_FLIGHT_BYTES = 4 << 20
# The client's own limit must never reject a message: what is too large is for the broker to say, see `TooLarge`.
MAX_REQUEST_BYTES = 64 << 20
# Text bytes in one message: the limit at the start, and the one below which a topic is considered unusable.
MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES = 1 << 20, 1 << 10
# Times to wait, in milliseconds. Short, because nothing is read from the logs while a call waits.
CONNECT_TIMEOUT_MS = 3_000
REQUEST_TIMEOUT_MS, DELIVERY_TIMEOUT_MS = 10_000, 20_000


class Unavailable(Exception):
    """The broker cannot be reached. After a while, everything that was not acknowledged must be sent again."""


class TooLarge(Exception):
    """The broker rejected a message for its size. Everything not acknowledged must be sent again, in smaller messages."""


@dataclass(frozen=True)
class Broker:
    """How to connect: the options of the group `Kafka` of `triage-ship`."""

    servers: tuple[str, ...]
    topic: str
    security: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    compression: str | None = "gzip"

    def options(self) -> dict[str, Any]:
        """The arguments of a kafka-python client; raises `ShipError` if an option is missing or a file cannot be used."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": self.security,
            "client_id": "triage-ship",
        }
        if self.security.startswith("SASL"):
            if not self.user or self.password is None:
                raise ShipError(f"--security {self.security} needs --user and --password-file")
            options |= {"sasl_mechanism": self.sasl_mechanism, "sasl_plain_username": self.user}
            options |= {"sasl_plain_password": self.password}
        if self.security.endswith("SSL"):
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.cert_file:
                    context.load_cert_chain(self.cert_file, self.key_file)
            except (OSError, ssl.SSLError) as error:
                raise ShipError(
                    f"--ca-file, --cert-file or --key-file cannot be used: {error}; each must name a readable PEM file"
                ) from None
            options |= {"ssl_context": context}
        return options


class Sender:
    """Sends records in order and reports how far the broker has acknowledged them without a gap.

    After `Unavailable` or `TooLarge`, the caller calls `drop` and sends all unacknowledged records again, oldest first.

    Raises:
        ShipError: The options of the broker cannot be used.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._options = broker.options()
        self._producer: Any | None = None
        # Records that are not acknowledged, oldest first, each with the future of every message it was sent in.
        self._waiting: deque[tuple[Record, list[Any]]] = deque()
        self._waiting_bytes = 0
        self._message_bytes = MAX_MESSAGE_BYTES

    @property
    def full(self) -> bool:
        """Whether so much is in flight that the caller should wait for acknowledgements."""
        return self._waiting_bytes >= IN_FLIGHT_BYTES

    def send(self, record: Record) -> None:
        """Hands a record to the Kafka client, which sends it in the background; connects first if necessary.

        Raises:
            Unavailable: There is no connection.
            ShipError: Waiting will not help, for example because the password is wrong.
        """
        self._waiting.append((record, [self._send_message(head, text) for head, text in self._split(record)]))
        self._waiting_bytes += len(record.text)

    def skip(self, record: Record) -> None:
        """Counts a record that cannot be sent as acknowledged, after those before it.

        Without this, the acknowledged cursor would stay before the record, and its segment would be sent at every start.
        """
        self._waiting.append((record._replace(text=b""), []))

    def acknowledged(self) -> Cursor | None:
        """The cursor after the last record that the broker has, together with all before it; None if there is no news.

        Raises:
            TooLarge: The broker rejected a message; the next ones will have half the size.
            Unavailable: A message was not delivered in time, or the connection failed.
            ShipError: Waiting will not help: no rights for the topic, or its message limit is below 1 KiB.
        """
        from kafka.errors import MessageSizeTooLargeError

        cursor = None
        while self._waiting and all(future.is_done for future in self._waiting[0][1]):
            record, futures = self._waiting[0]
            failure = next((future.exception for future in futures if future.failed()), None)
            if isinstance(failure, MessageSizeTooLargeError):
                raise self._halve_messages()
            if failure is not None:
                raise self._translate(failure)
            self._waiting.popleft()
            self._waiting_bytes -= len(record.text)
            cursor = record.end
        return cursor

    def drop(self) -> None:
        """Forgets everything in flight and closes the connection at once.

        The old producer must go: it would go on sending what it has buffered, out of order with what is sent again.
        """
        self._waiting.clear()
        self._waiting_bytes = 0
        self._disconnect(0)

    def close(self) -> None:
        """Closes the connection; waits up to 5 s for messages in flight. The next start sends what is not acknowledged."""
        self._disconnect(5)

    def _disconnect(self, seconds: float) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # A failure here changes nothing: what is not acknowledged is sent again.
            with contextlib.suppress(Exception):
                producer.close(timeout=seconds)

    def _send_message(self, head: dict[str, Any], text: bytes) -> Any:
        from kafka.errors import KafkaError

        headers = [("source", head["s"].encode(errors="replace"))]
        headers += [("seq", str(head["q"]).encode())] if "q" in head else []
        headers += [("seq.epoch", head["n"].encode())] if "n" in head else []
        headers += [("seq.part", head["p"].encode())] if "p" in head else []
        headers += [("end", b"1")] if head.get("e") else []
        headers += [(name, value.encode(errors="replace")) for name, value in head.get("h", {}).items()]
        key = head["k"].encode(errors="replace")
        try:
            return self._connected().send(self._broker.topic, text, key, headers, timestamp_ms=head.get("t"))
        except (KafkaError, OSError) as error:
            raise self._translate(error) from None

    def _split(self, record: Record) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yields the messages of a record, up to the size that the broker accepts. Usually there is one.

        A worker joins the parts again. All of them have the number of the chunk, so that none can be missing unseen, and the
        checksum of the chunk: after a lost connection it may be cut elsewhere. Only the last part has the end mark.
        """
        texts = list(self._parts(record.text))
        for number, text in enumerate(texts, 1):
            head = record.head
            if len(texts) > 1:
                head = {**head, "p": f"{number}/{len(texts)}/{zlib.crc32(record.text):08x}"}
            if number < len(texts):
                head = {name: value for name, value in head.items() if name != "e"}
            yield head, text

    def _parts(self, text: bytes) -> Iterator[bytes]:
        """Whole lines, as long as they are not too long themselves."""
        while len(text) > self._message_bytes:
            end = text.rfind(b"\n", 0, self._message_bytes) + 1 or self._message_bytes
            yield text[:end]
            text = text[end:]
        yield text

    def _connected(self) -> Any:
        if self._producer is None:
            from kafka import KafkaProducer

            # The client logs each failed attempt with a traceback; `Unavailable` is reported once per outage instead.
            logging.getLogger("kafka").setLevel(logging.CRITICAL)
            self._producer = KafkaProducer(
                **self._options,
                # A message counts only when all in-sync replicas have it: one whose broker then dies is not lost.
                acks="all",
                # Retries within a connection must neither double nor reorder messages. The broker knows the sequence
                # numbers of one producer only; what is sent again after `drop` repeats chunk numbers, and workers drop it.
                enable_idempotence=True,
                compression_type=self._broker.compression,
                linger_ms=5,
                # A batch counts as one message for the limit of the topic, so it must shrink with the messages.
                batch_size=self._message_bytes,
                max_request_size=MAX_REQUEST_BYTES,
                bootstrap_timeout_ms=CONNECT_TIMEOUT_MS,
                max_block_ms=CONNECT_TIMEOUT_MS,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            )
        return self._producer

    def _halve_messages(self) -> Exception:
        """Halves the size of messages from now on. The limit of the topic is not read: that takes rights of its own."""
        if self._message_bytes <= MIN_MESSAGE_BYTES:
            return ShipError(
                f"the topic {self._broker.topic} rejects messages of {self._message_bytes} bytes; raise its "
                "max.message.bytes"
            )
        self._message_bytes //= 2
        return TooLarge(f"Kafka rejects messages above the limit of the topic {self._broker.topic}")

    def _translate(self, error: BaseException) -> Exception:
        """`Unavailable` for what waiting can repair, `ShipError` for the rest."""
        from kafka import errors

        permanent = (
            errors.TopicAuthorizationFailedError,
            errors.ClusterAuthorizationFailedError,
            errors.SaslAuthenticationFailedError,
            errors.UnsupportedSaslMechanismError,
            errors.InvalidTopicError,
        )
        if isinstance(error, permanent):
            return ShipError(f"Kafka rejects the request: {error}; check user, password, access rights and topic name")
        # Brokers close the connection on wrong credentials, and the client cannot tell that from an outage.
        hint = (
            "" if self._broker.security == "PLAINTEXT" else "; a wrong user, password or certificate can also be the cause"
        )
        return Unavailable(f"{type(error).__name__}: {error}"[:300] + hint)
