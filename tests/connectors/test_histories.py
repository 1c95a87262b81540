"""Random histories of log files, which both readers follow. `make chaos` acts 100,000 of them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.histories import MODES, act


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is such a file system: a history makes thousands of small writes."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("first", range(0, 200, 20))
@pytest.mark.parametrize("mode", range(len(MODES)), ids=MODES)
def test_history(mode: int, first: int, memory: Path) -> None:
    """Each line comes once and in order, or a loss is reported."""
    for number in range(first + mode, first + 20, len(MODES)):
        folder = memory / str(number)
        folder.mkdir()
        assert not act(number, folder)
