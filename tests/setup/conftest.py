"""A cluster of a test's own."""

from collections.abc import Iterator

import pytest

from tests.setup.cluster import Cluster, running


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as cluster:
        yield cluster
