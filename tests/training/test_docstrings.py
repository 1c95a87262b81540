"""Examples in docstrings of training. They are slow: a module may import torch, and plain `pytest` needs none."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import training

PACKAGE = Path(training.__file__).parent
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_examples_print_what_they_show(path: Path) -> None:
    """Every example in the module gives the output written below it."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    result = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed
