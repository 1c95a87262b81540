"""Real servers for the tests that are marked `service`: started once, when the first test wants them."""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from tests.services.farm import Farm
from tests.services.servers import KafkaServer, OpenSearchServer, Unavailable

Server = TypeVar("Server", KafkaServer, OpenSearchServer)


def unavailable(reason: str) -> NoReturn:
    """Passed over by one who just tries; an error where all must be tested."""
    if os.environ.get("CI") or os.environ.get("REQUIRE_SERVICES"):
        raise Unavailable(reason)
    pytest.skip(reason)


@contextmanager
def started(make: Callable[[Path], Server]) -> Iterator[Server]:
    """In a folder that other test processes do not clear away, as they do with pytest's."""
    with tempfile.TemporaryDirectory(prefix="triage-service-") as folder:
        server = make(Path(folder))
        try:
            server.start()
        except Unavailable as reason:
            unavailable(str(reason))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A broker without and with security, on different ports."""
    with started(lambda folder: KafkaServer(folder, secure=True)) as server:
        yield server


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A broker of the test's own, to be stopped and killed."""
    with started(KafkaServer) as server:
        yield server


@pytest.fixture(scope="session")
def opensearch() -> Iterator[OpenSearchServer]:
    with started(OpenSearchServer) as server:
        yield server


@pytest.fixture(scope="session")
def secure_opensearch() -> Iterator[OpenSearchServer]:
    with started(lambda folder: OpenSearchServer(folder, secure=True)) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """For topics, groups and indices that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def make_farm(tmp_path: Path, kafka: KafkaServer, prefix: str) -> Callable[..., Farm]:
    def make(**settings: object) -> Farm:
        return Farm(tmp_path / "farm", kafka.bootstrap, prefix, **settings)

    return make
