"""The developer environment has neither torch nor the other packages for training."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.packages import MissingPackageError, require

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "onnx", "onnxscript", "transformers", "mlflow", "matplotlib", "xgboost")
COMMANDS = (
    "training.train",
    "training.early_stop",
    "training.transfer_benchmark",
    "training.corpus.__main__",
    "training.corpus.audit",
    "training.report.page",
    "training.paper.baselines",
    "training.paper.compare",
    "training.paper.document_embeddings",
    "training.paper.preprocess",
    "training.experiments.compare_networks",
    "training.experiments.order",
    "training.experiments.parsing",
    "training.experiments.reliability",
)
# Runs with the packages made absent. A command's --help ends with SystemExit; its text goes to stdout.
PROGRAM = """
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for name in {commands}:
    try:
        import_module(name).main(["--help"])
    except SystemExit as stop:
        assert stop.code == 0, name
from tests.corpus import tiny_bundle
print(tiny_bundle().card.name)
"""


@pytest.mark.slow
def test_commands_show_their_help_without_the_packages() -> None:
    """Every command can be imported and asked for its options, and the small bundle of the tests can be trained."""
    program = PROGRAM.format(absent=ABSENT, commands=COMMANDS)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: python -m training.") == len(COMMANDS)
    assert done.stdout.endswith("tiny\n")


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that is missing; installed ones are not imported."""
    monkeypatch.setitem(sys.modules, "xgboost", None)
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(MissingPackageError, match=r"xgboost is not installed; run `make setup-training`"):
        require("wave", "xgboost", "torch")
    assert "wave" not in sys.modules


def test_the_environment_of_users_names_the_remedy() -> None:
    """Without scikit-learn, as after `make demo`, a command prints one line instead of a traceback."""
    program = PROGRAM.partition("for name in")[0].format(absent=("sklearn",)) + "import training.train"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: the packages for training are not installed; run `make setup-training` in a checkout\n"
