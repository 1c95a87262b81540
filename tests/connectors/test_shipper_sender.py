"""The sender on a Kafka client that answers as the test says: messages, acknowledgements, limits and errors."""

import zlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import errors
from triage_ship.errors import ShipError
from triage_ship.sender import IN_FLIGHT_BYTES, MAX_MESSAGE_BYTES, Broker, Sender, TooLarge, Unavailable
from triage_ship.spool import Cursor, Record

LINE = b"x" * 99 + b"\n"


class Future:
    """What the client returns for a message."""

    def __init__(self) -> None:
        self.is_done = False
        self.exception: BaseException | None = None

    def failed(self) -> bool:
        return self.is_done and self.exception is not None

    def finish(self, exception: BaseException | None = None) -> None:
        self.is_done, self.exception = True, exception


@dataclass
class Message:
    value: bytes
    key: bytes
    headers: dict[str, bytes]
    future: Future = field(default_factory=Future)


class FakeKafka:
    """All producers of a test, the messages they sent, and how long each was given to close."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.messages: list[Message] = []
        self.closed: list[float] = []
        self.error: Exception | None = None

    def producer(self, **options: Any) -> "FakeKafka":
        self.options.append(options)
        return self

    def send(self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]], timestamp_ms: int) -> Future:
        assert topic == "logs"
        if self.error is not None:
            raise self.error
        self.messages.append(Message(value, key, dict(headers)))
        return self.messages[-1].future

    def close(self, timeout: float) -> None:
        self.closed.append(timeout)

    def finish(self, limit: int = 1 << 40) -> None:
        """Acknowledges all messages up to this size and rejects larger ones."""
        for message in self.messages:
            message.future.finish(errors.MessageSizeTooLargeError() if len(message.value) > limit else None)


@pytest.fixture
def fake_kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    fake = FakeKafka()
    monkeypatch.setattr("kafka.KafkaProducer", fake.producer)
    return fake


@pytest.fixture
def sender(fake_kafka: FakeKafka) -> Sender:
    return Sender(Broker(("nowhere:1",), "logs"))


def record(number: int = 0, text: bytes = b"line\n", **head: Any) -> Record:
    return Record({"k": "run", "s": "du", "q": number, "t": 1} | head, text, Cursor(1, 100 * (number + 1)), 0)


class TestMessages:
    def test_key_and_headers(self, sender: Sender, fake_kafka: FakeKafka):
        """The run is the key; source, number, end and the headers of the run are headers of the message."""
        sender.send(record(7, e=1, h={"testbed": "rack-1"}))
        (message,) = fake_kafka.messages
        assert (message.key, message.value) == (b"run", b"line\n")
        assert message.headers == {"source": b"du", "seq": b"7", "end": b"1", "testbed": b"rack-1"}

    def test_the_numbering_is_named(self, sender: Sender, fake_kafka: FakeKafka):
        """As the record in the spool names it; records of earlier releases name none."""
        sender.send(record(0, n="1a2b"))
        sender.send(record(1))
        assert [message.headers.get("seq.epoch") for message in fake_kafka.messages] == [b"1a2b", None]

    def test_client_options(self, sender: Sender, fake_kafka: FakeKafka):
        """All replicas acknowledge, and retries neither double nor reorder: without these, a dying broker loses lines."""
        sender.send(record())
        (options,) = fake_kafka.options
        assert (options["acks"], options["enable_idempotence"], options["compression_type"]) == ("all", True, "gzip")


class TestBroker:
    @pytest.mark.parametrize(("user", "password"), [(None, "p"), ("", "p"), ("u", None)])
    def test_password_needs_both_parts(self, user: str | None, password: str | None):
        """The error names the options to give; an empty password is one."""
        with pytest.raises(ShipError, match="needs --user and --password-file"):
            Sender(Broker(("b:1",), "logs", "SASL_PLAINTEXT", user=user, password=password))
        Sender(Broker(("b:1",), "logs", "SASL_PLAINTEXT", user="u", password=""))

    def test_client_options_of_a_login(self):
        """User, password and mechanism are for SASL, certificates for SSL, and neither is there without."""
        login = Broker(("b:1", "c:2"), "logs", "SASL_SSL", "PLAIN", "u", "p").options()
        assert login["bootstrap_servers"] == ["b:1", "c:2"]
        assert {name: login[name] for name in login if name.startswith("sasl")} == {
            "sasl_mechanism": "PLAIN", "sasl_plain_username": "u", "sasl_plain_password": "p"}  # fmt: skip
        assert login["ssl_context"].check_hostname
        assert Broker(("b:1",), "logs", user="u").options().keys() == {"bootstrap_servers", "security_protocol", "client_id"}


class TestAcknowledged:
    def test_in_order_and_without_gaps(self, sender: Sender, fake_kafka: FakeKafka):
        """A record counts only when all before it are acknowledged."""
        for number in range(3):
            sender.send(record(number))
        first, second, third = (message.future for message in fake_kafka.messages)
        assert sender.acknowledged() is None
        second.finish()
        assert sender.acknowledged() is None
        first.finish()
        assert sender.acknowledged() == record(1).end
        assert sender.acknowledged() is None
        third.finish()
        assert sender.acknowledged() == record(2).end

    def test_skipped_record_waits_for_those_before_it(self, sender: Sender, fake_kafka: FakeKafka):
        """It is acknowledged in its turn, although nothing is sent for it."""
        sender.send(record(0))
        sender.skip(record(1))
        assert sender.acknowledged() is None
        fake_kafka.finish()
        assert sender.acknowledged() == record(1).end
        assert len(fake_kafka.messages) == 1

    def test_full_at_exactly_its_limit(self, sender: Sender, fake_kafka: FakeKafka):
        """One byte less is not full, an acknowledgement makes room, and so does `drop`."""
        sender.send(record(0, b"x" * (IN_FLIGHT_BYTES - 1)))
        assert not sender.full
        sender.send(record(1, b"x"))
        assert sender.full
        fake_kafka.finish()
        sender.acknowledged()
        assert not sender.full
        sender.send(record(2, b"x" * IN_FLIGHT_BYTES))
        assert sender.full
        sender.drop()
        assert not sender.full

    def test_drop_forgets_what_is_in_flight(self, sender: Sender, fake_kafka: FakeKafka):
        """The old client is closed without waiting, and its acknowledgements count no more: records are sent again."""
        sender.send(record(0))
        sender.drop()
        fake_kafka.finish()
        assert sender.acknowledged() is None
        assert fake_kafka.closed == [0]
        sender.send(record(0))
        assert len(fake_kafka.options) == 2
        assert sender.acknowledged() is None
        sender.close()
        assert fake_kafka.closed == [0, 5]


class TestErrors:
    @pytest.mark.parametrize("error", [errors.KafkaTimeoutError("t"), errors.NotLeaderForPartitionError(), OSError("reset")])
    def test_outage(self, error: Exception, sender: Sender, fake_kafka: FakeKafka):
        """Whether it shows when a message is sent or when it is acknowledged."""
        sender.send(record())
        fake_kafka.messages[0].future.finish(error)
        with pytest.raises(Unavailable, match=type(error).__name__):
            sender.acknowledged()
        sender.drop()
        fake_kafka.error = error
        with pytest.raises(Unavailable, match=type(error).__name__):
            sender.send(record())

    @pytest.mark.parametrize("error", [errors.TopicAuthorizationFailedError("logs"), errors.SaslAuthenticationFailedError()])
    def test_permanent_error(self, error: Exception, sender: Sender, fake_kafka: FakeKafka):
        """It ends the shipper with a remedy."""
        fake_kafka.error = error
        with pytest.raises(ShipError, match="check user, password, access rights and topic name"):
            sender.send(record())

    @pytest.mark.parametrize(("security", "hint"), [("PLAINTEXT", False), ("SSL", True)])
    def test_hint_at_wrong_credentials(self, security: str, hint: bool, fake_kafka: FakeKafka):
        """Brokers close the connection on them, so the message names that cause, but only where there are credentials."""
        sender = Sender(Broker(("nowhere:1",), "logs", security))
        fake_kafka.error = errors.KafkaConnectionError("closed")
        with pytest.raises(Unavailable) as raised:
            sender.send(record())
        assert ("a wrong user, password or certificate" in str(raised.value)) is hint


class TestTooLarge:
    @staticmethod
    def send_until_it_fits(sender: Sender, fake_kafka: FakeKafka, text: bytes, limit: int) -> None:
        for _ in range(20):
            fake_kafka.messages.clear()
            sender.send(record(3, text, e=1))
            fake_kafka.finish(limit)
            try:
                assert sender.acknowledged() == record(3).end
                return
            except TooLarge:
                sender.drop()
        raise AssertionError

    def test_message_of_exactly_the_limit(self, sender: Sender, fake_kafka: FakeKafka):
        """It is sent in one piece; one line more, and it is split at a line end."""
        whole = LINE * (MAX_MESSAGE_BYTES // len(LINE))
        sender._message_bytes = len(whole)
        sender.send(record(0, whole))
        assert [message.value for message in fake_kafka.messages] == [whole]
        sender.send(record(1, whole + LINE))
        assert [message.value for message in fake_kafka.messages[1:]] == [whole, LINE]

    def test_smaller_messages(self, sender: Sender, fake_kafka: FakeKafka):
        """Parts of whole lines, in order: each has the number and says which part it is; the last one ends the source."""
        self.send_until_it_fits(sender, fake_kafka, LINE * 200, 5000)
        messages, check = fake_kafka.messages, b"%08x" % zlib.crc32(LINE * 200)
        assert b"".join(message.value for message in messages) == LINE * 200
        assert all(len(message.value) <= 5000 and message.value.endswith(b"\n") for message in messages)
        assert len(messages) == 5  # of 4096 bytes: the sizes are halves of 1 MiB
        assert [message.headers["seq.part"] for message in messages] == [b"%d/5/%s" % (n, check) for n in range(1, 6)]
        assert {message.headers["seq"] for message in messages} == {b"3"}
        assert ["end" in message.headers for message in messages] == [False] * 4 + [True]
        assert fake_kafka.options[-1]["batch_size"] == 4096

    def test_line_above_the_limit(self, sender: Sender, fake_kafka: FakeKafka):
        """It is cut, since the worker joins the parts again; one such line keeps no others from being sent."""
        sender._message_bytes = 1024
        text = LINE + b"y" * 3000 + b"\n" + LINE
        sender.send(record(0, text))
        assert [len(message.value) for message in fake_kafka.messages] == [100, 1024, 1024, 953, 100]
        assert b"".join(message.value for message in fake_kafka.messages) == text

    def test_topic_that_takes_nothing(self, sender: Sender, fake_kafka: FakeKafka):
        """Sizes are halved down to 1 KiB, then the shipper ends and names the setting to change."""
        with pytest.raises(ShipError, match=r"raise its max\.message\.bytes"):
            self.send_until_it_fits(sender, fake_kafka, LINE * 200, 50)
        assert [options["batch_size"] for options in fake_kafka.options] == [1 << bits for bits in range(20, 9, -1)]
