"""Fixtures shared by all tests: small bundles, the shipped bundle, and the optional data folder."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from stream_triage import Bundle, Triage, find_bundle
from stream_triage.bundle import write_bundle
from tests.corpus import tiny_bundle
from tests.receiver import Receiver, receiving

pytest.register_assert_rewrite("tests.edges")

ROOT = Path(__file__).parent.parent
# Runs in the environment of requirements/mutants.txt, and holds no tests.
collect_ignore = ["mutants.py"]
# Files that import packages of requirements/train.txt. Other tests of networks import them inside the test.
NEED_TRAINING = {
    f"tests/training/test_{name}.py" for name in ("baselines", "compare_networks", "document_embeddings", "paper")
}
SLOW_SECONDS = 900  # the first test that uses a server also installs and starts it
SENDERS = {f"tests/services/test_{name}.py" for name in ("shipping", "recipes", "prometheus")}

# No deadline for single examples, which a busy machine exceeds; pytest-timeout stops tests that hang. The same examples in
# every run, so that a change is not blamed for a fault that was there before; `make explore` draws new ones.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.load_profile("same")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is for jobs in the background, and for what they start; tests press Ctrl-C and would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Slow tests train networks. Without torch the session stops: a skipped test would go unnoticed."""
    if not _deselects_slow(config) and find_spec("torch") is None:
        raise pytest.UsageError("slow tests train networks and need torch; run `make setup-training`, or `make test`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skips files whose tests would all be deselected: importing them takes seconds and needs torch."""
    path = collection_path.relative_to(ROOT).as_posix() if collection_path.is_relative_to(ROOT) else ""
    needless = (path == "tests/services" and "not service" in config.option.markexpr) or (
        path in NEED_TRAINING and _deselects_slow(config)
    )
    return needless or None


def _deselects_slow(config: pytest.Config) -> bool:
    return "not slow" in config.option.markexpr or config.option.markexpr == "service"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Server tests start first: they take longest, and mostly wait. They and slow tests get a longer time limit."""
    for item in items:
        if config.option.timeout is None and (item.get_closest_marker("slow") or item.get_closest_marker("service")):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
    items.sort(key=lambda item: item.get_closest_marker("service") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `-n 2`: what needs OpenSearch in one process, what needs a broker alone in the other, then file by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return ("senders" if file in SENDERS else "services") if file.startswith("tests/services/") else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """A bundle trained in a second on invented runs (tests/corpus.py)."""
    return tiny_bundle()


@pytest.fixture
def triage(bundle: Bundle) -> Triage:
    return Triage(bundle)


@pytest.fixture(scope="session")
def shipped() -> Bundle:
    """The bundle with networks, as users get it."""
    return Bundle.open(find_bundle("oai5g"))


@pytest.fixture(scope="session")
def bundle_path(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle as a folder on disk."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(folder, bundle.card, {name: bundle.data(name) for name in bundle.card.files})
    return folder


@pytest.fixture
def workplace(tmp_path: Path, bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in, with the small bundle as default, for real processes too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAM_TRIAGE_BUNDLE", str(bundle_path))
    return tmp_path


@pytest.fixture
def receiver() -> Iterator[tuple[type[Receiver], str]]:
    """A webhook, and its apprise URL."""
    with receiving() as made:
        yield made


@pytest.fixture
def data_folder() -> Path:
    """The folder of real labelled logs; where it is absent the test says so and is not run."""
    named = os.environ.get("STREAM_TRIAGE_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("set STREAM_TRIAGE_DATA to the folder of real labelled logs")
    return Path(named).absolute()  # tests change the working directory


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders that do not exist yet, a new one each time: most tests need none, and making thousands takes seconds."""
    parent = tmp_path_factory.mktemp("homes")
    return (parent / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test uses the store or the settings of the person who runs it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(next(_homes)))
    for name in [name for name in os.environ if name.startswith("STREAM_TRIAGE_") and name != "STREAM_TRIAGE_DATA"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)  # how wide the terminal is that tests are started from


WriteFile = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Writes a file below tmp_path, with the folders it needs."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write
