"""CONTRIBUTING names real files and real definitions: a newcomer follows it to the letter."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLE, _, REST = TEXT.partition("\n## Recipes\n")
QUESTIONS = re.findall(r"^\| (\d+)\. .*$", TABLE, re.MULTILINE)
DEFINITIONS = re.findall(r"`([\w.]+)` in `([\w./]+\.py)`", TABLE)
# `NAME` stands for what the reader adds; `.venv` and `.cache` are made by the Makefile.
PATHS = sorted({path for path in re.findall(r"`([\w.]+/[\w./-]*)`", TEXT) if "NAME" not in path and path[0] != "."})
FOLDERS = ("stream_triage", "training", "")


def test_every_question_has_an_answer() -> None:
    """The questions are numbered from 1, each in its row."""
    assert [int(number) for number in QUESTIONS] == list(range(1, 28))
    assert len(DEFINITIONS) >= 22
    assert len(PATHS) >= 40


@pytest.mark.parametrize(("name", "path"), DEFINITIONS)
def test_definitions_are_where_the_table_says(name: str, path: str) -> None:
    """The class and the function, or the constant, are defined in the file."""
    code = (ROOT / path).read_text(encoding="utf-8")
    for part in name.split("."):
        assert re.search(rf"^\s*(?:async def|def|class) {part}\b|^(?:.*, )?{part}\b.*[=:]", code, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path: str) -> None:
    """Paths begin at the checkout, or at the folder of the product or of training."""
    assert any((ROOT / folder / path).exists() for folder in FOLDERS)


def test_links_within_the_page_lead_somewhere() -> None:
    """Each anchor is a heading."""
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
