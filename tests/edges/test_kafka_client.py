"""The Kafka client without a broker: what it passes to aiokafka, and what it makes of its errors."""

import asyncio
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)

from stream_triage.clients.broker import MAX_MESSAGE_BYTES, Outgoing
from stream_triage.clients.kafka import KafkaBroker, connection, ssl_context
from stream_triage.errors import ServerAway, SettingsError, StoreError
from stream_triage.settings import KafkaSettings
from tests.services.servers import free_port


class FakeProducer:
    """Stands for aiokafka's producer. `results` are those of the next messages: None or an error.

    It learns that the topic has `partitions` partitions when it is told to ask, as it would by itself after five minutes.
    """

    made: list["FakeProducer"]
    results: list[BaseException | None]
    partitions = 3

    def __init__(self, **options: Any) -> None:
        self.options, self.sent, self.stopped = options, list[tuple[Any, ...]](), False
        self.known, self.client = 3, self
        self.made.append(self)

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.known))

    async def force_metadata_update(self) -> None:
        self.known = self.partitions

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    async def send(self, topic: str, value: Any, key: Any, partition: Any, headers: Any) -> "asyncio.Future[None]":
        if value is not None and len(value) > self.options["max_request_size"]:
            raise MessageSizeTooLargeError(topic)
        self.sent.append((topic, key, value, partition, headers))
        future = asyncio.get_running_loop().create_future()
        result = self.results.pop(0) if self.results else None
        if result is None:
            future.set_result(None)
        else:
            future.set_exception(result)
        return future


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> type[FakeProducer]:
    made = type("Producer", (FakeProducer,), {"made": [], "results": []})
    monkeypatch.setattr(aiokafka, "AIOKafkaProducer", made)
    return made


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The first connection to each server fails for the next of these reasons, or for that of a server that is away."""
    reasons: list[BaseException] = []

    async def connect(host: str, port: int, **_: Any) -> None:
        raise reasons.pop(0) if reasons else ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9092)")

    monkeypatch.setattr("aiokafka.conn.create_conn", connect)
    return reasons


@pytest.fixture
def broker(producer: type[FakeProducer], connected: list[BaseException]) -> Iterator[KafkaBroker]:
    with KafkaBroker(KafkaSettings(servers=("lab:9092",))) as broker:
        yield broker


def messages(names: str) -> list[Outgoing]:
    return [Outgoing("t", name.encode(), b"x") for name in names]


def keys(producer: FakeProducer) -> list[bytes]:
    return [key for _, key, *_ in producer.sent]


class TestSending:
    def test_all_replicas_must_have_a_message(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """A verdict that only one broker has would be lost with it; retries must neither duplicate nor reorder."""
        broker.send(messages("a"))
        (made,) = producer.made
        assert made.options["acks"] in ("all", -1)
        assert made.options["enable_idempotence"] is True
        assert made.options["max_request_size"] == MAX_MESSAGE_BYTES
        assert made.options["bootstrap_servers"] == ["lab:9092"]

    def test_messages_are_passed_on(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """With one producer for all calls, which closing stops."""
        assert broker.send([Outgoing("t", b"k", b"v", (("h", b"1"),), 2), Outgoing("t", None, b"w")]) == []
        assert broker.send(messages("a")) == []
        broker.close()
        (made,) = producer.made
        assert made.sent == [
            ("t", b"k", b"v", 2, [("h", b"1")]),
            ("t", None, b"w", None, []),
            ("t", b"a", b"x", None, []),
        ]
        assert made.stopped

    def test_fails_if_one_message_fails(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """The producer is replaced: it may hold messages that it would send late."""
        producer.results += [None, NotEnoughReplicasError(), None]
        with pytest.raises(StoreError, match=r"Kafka at lab:9092: messages cannot be written: .*NotEnoughReplicas"):
            broker.send(messages("abc"))
        broker.send(messages("abc"))
        first, second = producer.made
        assert first.stopped
        assert keys(second) == [b"a", b"b", b"c"]

    def test_a_partition_that_is_new(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """The producer asks for the partitions of the topic; one that is not there yet is worth another try."""
        message = Outgoing("t", b"k", b"v", partition=4)
        with pytest.raises(ServerAway, match=r"topic t at lab:9092 has no partition 4 yet; `stream-triage setup kafka`"):
            broker.send([message])
        producer.partitions = 5
        assert broker.send([message]) == []
        assert [sent[3] for sent in producer.made[-1].sent] == [4]

    def test_too_large_for_the_client(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """The message is returned, the others are sent, and the producer can go on."""
        large = Outgoing("t", b"large", bytes(MAX_MESSAGE_BYTES + 1))
        assert broker.send([*messages("a"), large, *messages("b")]) == [large]
        (made,) = producer.made
        assert keys(made) == [b"a", b"b"]
        assert not made.stopped

    def test_too_large_for_the_topic(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """The broker takes no later message of that producer in this partition: a new producer sends them, in order."""
        producer.results += [None, MessageSizeTooLargeError(), OutOfOrderSequenceNumber(), None, OutOfOrderSequenceNumber()]
        assert [message.key for message in broker.send(messages("abcde"))] == [b"b"]
        first, second = producer.made
        assert first.stopped
        assert keys(second) == [b"c", b"e"]

    def test_several_too_large(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """Each costs a producer, and all others arrive."""
        too_large, out_of_order = MessageSizeTooLargeError(), OutOfOrderSequenceNumber()
        producer.results += [too_large, out_of_order, out_of_order, too_large, out_of_order, None]
        assert [message.key for message in broker.send(messages("abc"))] == [b"a", b"b"]
        assert [keys(made) for made in producer.made] == [[b"a", b"b", b"c"], [b"b", b"c"], [b"c"]]

    def test_out_of_order_without_a_reason(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """It is an error like any other."""
        producer.results += [OutOfOrderSequenceNumber()]
        with pytest.raises(StoreError, match="OutOfOrder"):
            broker.send(messages("a"))
        assert producer.made[0].stopped

    def test_rejected_and_failed(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """An error of another message is not hidden by one that is too large."""
        producer.results += [MessageSizeTooLargeError(), NotEnoughReplicasError()]
        with pytest.raises(StoreError, match="NotEnoughReplicas"):
            broker.send(messages("ab"))

    def test_other_errors_are_not_hidden(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """A mistake in this program is not a failure of the broker."""
        producer.results += [ZeroDivisionError()]
        with pytest.raises(ZeroDivisionError):
            broker.send(messages("a"))

    def test_producer_that_does_not_start(self, broker: KafkaBroker, producer: type[FakeProducer]) -> None:
        """It is stopped, and the next call makes another one."""

        async def fail(self: FakeProducer) -> None:
            raise KafkaConnectionError("nobody there")

        start, producer.start = producer.start, fail
        with pytest.raises(ServerAway, match="Connection refused"):
            broker.send(messages("a"))
        producer.start = start
        assert broker.send(messages("a")) == []
        assert [made.stopped for made in producer.made] == [True, False]


@pytest.mark.parametrize(
    ("error", "remedy", "temporary"),
    [
        (KafkaConnectionError("x"), "Connection refused; check that the brokers are up, and kafka.servers", True),
        (TopicAuthorizationFailedError("t"), "docs/reliability.md lists the rights", False),
        (GroupAuthorizationFailedError("g"), "docs/reliability.md lists the rights", False),
        (UnknownTopicOrPartitionError(), "`stream-triage setup kafka` creates the topics", False),
        (NotEnoughReplicasError(), "check that the brokers are up", True),
        (TimeoutError(), "no response in time; check that the brokers are up", True),
        (OSError(111, "Connection refused"), "Connection refused; check that the brokers are up", True),
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "self-signed certificate; check kafka.security", False),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "EOF occurred", True),
    ],
)
def test_errors_name_the_remedy(
    broker: KafkaBroker, producer: type[FakeProducer], error: BaseException, remedy: str, temporary: bool
) -> None:
    """Each failure says what to check, and whether trying again may help."""
    producer.results.append(error)
    with pytest.raises(StoreError, match=re.escape(remedy)) as raised:
        broker.send(messages("a"))
    assert raised.value.temporary == temporary


@pytest.mark.parametrize(
    ("reasons", "remedy", "temporary"),
    [
        ([SaslAuthenticationFailed("invalid credentials")], "check kafka.user, kafka.password", False),
        ([UnsupportedSaslMechanismError("PLAIN")], "check kafka.user, kafka.password and kafka.sasl_mechanism", False),
        (
            [IllegalSaslStateError("<AIOKafkaConnection host=lab port=9092>")],
            "messages cannot be written: [Error 34] IllegalSaslStateError; the broker expects no user",
            False,
        ),
        ([ssl.SSLCertVerificationError(1, "unknown authority")], "check kafka.security, kafka.ca_file", False),
        ([ConnectionResetError(104, "reset"), SaslAuthenticationFailed("invalid")], "check kafka.user", False),
        ([ConnectionResetError(104, "Connection reset by peer")], "reset by peer; check that the brokers are up", True),
        ([TimeoutError()], "check that the brokers are up", True),
    ],
)
def test_why_no_server_can_be_connected_to(
    producer: type[FakeProducer],
    connected: list[BaseException],
    reasons: list[BaseException],
    remedy: str,
    temporary: bool,
) -> None:
    """The library only logs it. A password that one of the servers rejects is wrong, also if others are away."""
    connected += reasons
    producer.results.append(KafkaConnectionError("Unable to bootstrap"))
    servers = tuple(f"lab{number}:9092" for number in range(len(reasons)))
    with KafkaBroker(KafkaSettings(servers=servers)) as broker:
        with pytest.raises(StoreError, match=re.escape(remedy)) as raised:
            broker.send(messages("a"))
        assert raised.value.temporary == temporary


def test_nobody_there() -> None:
    """Without a broker every call raises an error that names the address."""
    address = f"127.0.0.1:{free_port()}"
    with KafkaBroker(KafkaSettings(servers=(address,))) as broker:
        for call in (lambda: broker.send(messages("a")), lambda: broker.partitions(["t"]), lambda: broker.read("t", 0)):
            with pytest.raises(StoreError, match=rf"Kafka at {address}: .*kafka\.servers"):
                call()


def test_commands_print_one_message(tmp_path: Path) -> None:
    """What aiokafka logs comes beside the error of ours only in a worker, which sets up a log."""
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[kafka]\nservers = ["127.0.0.1:{free_port()}"]\n')
    command = [sys.executable, "-m", "stream_triage", "setup", "kafka", "-c", str(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.fullmatch(r"error: Kafka at .*Connection refused.*\n", ended.stderr), ended.stderr


def test_closing_without_a_call() -> None:
    """A broker that was never used has nothing to close."""
    broker = KafkaBroker(KafkaSettings(servers=("lab:9092",)))
    broker.close()
    broker.close()


class TestConnection:
    def test_plain(self) -> None:
        """No TLS and no user."""
        options = connection(KafkaSettings(servers=("a:1", "b:2"), security="PLAINTEXT"))
        assert options == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT", "ssl_context": None}

    def test_user_and_tls(self) -> None:
        """With a password by SASL, and the certificates of the system."""
        settings = KafkaSettings(security="SASL_SSL", user="lab", password="secret", sasl_mechanism="SCRAM-SHA-512")
        options = connection(settings)
        assert isinstance(options["ssl_context"], ssl.SSLContext)
        assert options["ssl_context"].verify_mode == ssl.CERT_REQUIRED
        assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "lab")
        assert options["sasl_plain_password"] == "secret"

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_certificates_that_cannot_be_used(self, tmp_path: Path, content: str | None) -> None:
        """The error names the setting and the file."""
        files = [tmp_path / name for name in ("ca.pem", "client.pem", "client.key")]
        if content is not None:
            for file in files:
                file.write_text(content)
        authority = KafkaSettings(security="SSL", ca_file=files[0])
        with pytest.raises(SettingsError, match=rf"kafka\.ca_file {files[0]} cannot be used"):
            ssl_context(authority)
        client = KafkaSettings(security="SSL", cert_file=files[1], key_file=files[2])
        with pytest.raises(SettingsError, match=rf"kafka\.cert_file {files[1]} with kafka\.key_file {files[2]} cannot"):
            ssl_context(client)


def test_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it."""
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with KafkaBroker(KafkaSettings()) as broker, pytest.raises(SettingsError, match=r"stream-triage\[kafka\]"):
        broker.send(messages("a"))
