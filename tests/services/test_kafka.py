"""Kafka behaves like the broker in memory that fast tests use: the same contracts."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from aiokafka import AIOKafkaProducer

from stream_triage.clients.broker import Outgoing
from stream_triage.clients.kafka import KafkaBroker, connection
from stream_triage.clock import FakeClock
from stream_triage.settings import KafkaSettings
from tests.edges.broker_contract import BrokerContract, DeadLettersContract, RunLogContract, VerdictTopicContract
from tests.services.farm import until
from tests.services.servers import KafkaServer

pytestmark = pytest.mark.service


class OnKafka:
    broker: KafkaBroker

    @pytest.fixture(autouse=True)
    def _target(self, kafka: KafkaServer, prefix: str) -> Iterator[None]:
        self.settings, self.topic, self.clock = KafkaSettings(servers=(kafka.bootstrap,)), prefix, FakeClock()
        with KafkaBroker(self.settings) as self.broker:
            yield


class TestKafkaBroker(OnKafka, BrokerContract):
    def send_in_transaction(self, messages: Sequence[Outgoing]) -> None:
        """Waits for the marker of the transaction, which the broker writes after it has told the producer of the end."""
        before = self.broker.ends(self.topic)[0]
        asyncio.run(self._send_in_transaction(messages))
        until(lambda: self.broker.ends(self.topic)[0] > before + len(messages), 10)

    async def _send_in_transaction(self, messages: Sequence[Outgoing]) -> None:
        options = connection(self.settings)
        async with AIOKafkaProducer(**options, transactional_id=self.topic) as producer, producer.transaction():
            for message in messages:
                await producer.send(message.topic, message.value, message.key, message.partition)


class TestVerdictTopic(OnKafka, VerdictTopicContract):
    pass


class TestRunLog(OnKafka, RunLogContract):
    pass


class TestDeadLetters(OnKafka, DeadLettersContract):
    pass
