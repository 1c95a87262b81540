"""The way to Kafka: records in, in order; how far the broker has all of them out. The only file that knows kafka-python."""

import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from triage_ship.errors import ShipError
from triage_ship.spool import Place, Record

__all__ = ["Away", "Broker", "Sender", "TooLarge"]

IN_FLIGHT_BYTES = 4 << 20
LARGEST_REQUEST = 64 << 20
# What is sent at once, unless the broker takes less.
LARGEST_BATCH, SMALLEST_MESSAGE = 1 << 20, 1 << 10


class Away(Exception):
    """The broker cannot be reached now; what was not acknowledged must be sent again."""


class TooLarge(Away):
    """The same, in smaller messages from now on."""


@dataclass(frozen=True)
class Broker:
    """How to connect."""

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
        """As kafka-python wants to be told; raises `ShipError` naming what cannot be used."""
        told: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": self.security,
            "client_id": "triage-ship",
        }
        if self.security.startswith("SASL"):
            if not self.user or self.password is None:
                raise ShipError(f"--security {self.security} needs --user and --password-file")
            told |= {"sasl_mechanism": self.sasl_mechanism, "sasl_plain_username": self.user}
            told |= {"sasl_plain_password": self.password}
        if self.security.endswith("SSL"):
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.cert_file:
                    context.load_cert_chain(self.cert_file, self.key_file)
            except (OSError, ssl.SSLError) as error:
                raise ShipError(f"--ca-file, --cert-file or --key-file cannot be used: {error}") from None
            told |= {"ssl_context": context}
        return told


class Sender:
    """At most `IN_FLIGHT_BYTES` are on their way."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._options = broker.options()
        self._producer: Any | None = None
        self._waiting: deque[tuple[Record, list[Any]]] = deque()
        self._bytes = 0
        self._limit = LARGEST_BATCH

    @property
    def full(self) -> bool:
        return self._bytes >= IN_FLIGHT_BYTES

    def send(self, record: Record) -> None:
        """Raises `Away`."""
        self._waiting.append((record, [self._put(head, text) for head, text in self._parts(record)]))
        self._bytes += len(record.text)

    def skip(self, record: Record) -> None:
        """Counts a record that cannot be sent as sent, in its turn: what waits for it would wait for ever."""
        self._waiting.append((record._replace(text=b""), []))

    def acknowledged(self) -> Place | None:
        """Behind the last record that is with the broker together with all before it. Raises `Away`, `ShipError`."""
        from kafka.errors import MessageSizeTooLargeError

        place = None
        while self._waiting and all(future.is_done for future in self._waiting[0][1]):
            record, futures = self._waiting[0]
            failed = next((future.exception for future in futures if future.failed()), None)
            if isinstance(failed, MessageSizeTooLargeError):
                if self._limit <= SMALLEST_MESSAGE:
                    told = f"the topic {self._broker.topic} takes no message of {self._limit} bytes"
                    raise ShipError(f"{told}; raise its max.message.bytes")
                self._limit //= 2
                raise TooLarge("messages are too large for the broker") from None
            if failed is not None:
                raise self._fault(failed)
            self._waiting.popleft()
            self._bytes -= len(record.text)
            place = record.end
        return place

    def drop(self) -> None:
        """Forgets what is on its way, and the connection."""
        self._waiting.clear()
        self._bytes = 0
        self._disconnect(0)

    def close(self) -> None:
        self._disconnect(5)

    def _disconnect(self, seconds: float) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):  # what was acknowledged is known, the rest is sent again
                producer.close(timeout=seconds)

    def _put(self, head: dict[str, Any], text: bytes) -> Any:
        from kafka.errors import KafkaError

        headers = [("source", head["s"].encode(errors="replace"))]
        headers += [("seq", str(head["q"]).encode())] if "q" in head else []
        headers += [("end", b"1")] if head.get("e") else []
        headers += [(name, value.encode(errors="replace")) for name, value in head.get("h", {}).items()]
        key = head["k"].encode(errors="replace")
        try:
            return self._connected().send(self._broker.topic, text, key, headers, timestamp_ms=head.get("t"))
        except (KafkaError, OSError) as error:
            raise self._fault(error) from None

    def _parts(self, record: Record) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Whole lines, as many as the broker takes at once. The last part carries the number, so that none is missing."""
        plain = {name: value for name, value in record.head.items() if name not in ("q", "e")}
        text = record.text
        while len(text) > self._limit:
            end = text.rfind(b"\n", 0, self._limit) + 1 or text.find(b"\n") + 1 or len(text)
            if end == len(text):
                break
            yield plain, text[:end]
            text = text[end:]
        yield record.head, text

    def _connected(self) -> Any:
        if self._producer is None:
            from kafka import KafkaProducer

            logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it says in words of its own what we say in ours
            self._producer = KafkaProducer(
                **self._options,
                acks="all",
                enable_idempotence=True,
                compression_type=self._broker.compression,
                linger_ms=5,
                batch_size=self._limit,
                max_request_size=LARGEST_REQUEST,
                bootstrap_timeout_ms=3_000,
                max_block_ms=3_000,
                request_timeout_ms=10_000,
                delivery_timeout_ms=20_000,
            )
        return self._producer

    def _fault(self, error: BaseException) -> Exception:
        """What waiting mends is `Away`; the rest ends the shipper."""
        from kafka import errors

        refused = (
            errors.TopicAuthorizationFailedError,
            errors.ClusterAuthorizationFailedError,
            errors.SaslAuthenticationFailedError,
            errors.UnsupportedSaslMechanismError,
            errors.InvalidTopicError,
        )
        if isinstance(error, refused):
            return ShipError(f"Kafka refuses: {error}; check user, password and rights, and the name of the topic")
        # A broker that does not like a password hangs up, and the library says no more than that.
        hint = (
            ""
            if self._broker.security == "PLAINTEXT"
            else "; so it looks, too, when user, password or certificate are wrong"
        )
        return Away(f"{type(error).__name__}: {error}"[:300] + hint)
