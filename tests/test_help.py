"""Help texts: every command, option and argument has one, in a full sentence that can be read alone."""

import re
from typing import Any

import pytest
import typer

from stream_triage.cli import app
from stream_triage.stages.reduce.budget import AUTO_MOST, AUTO_SHARE, CHARACTERS_PER_TOKEN
from tests.commands import call

GROUPS = ("", "alerts", "setup")
# Written by typer.
GENERATED = {"--install-completion", "--show-completion"}


def texts() -> dict[str, str]:
    """The help text of each command, and of each of its options and arguments."""
    found: dict[str, str] = {}

    def add(name: str, command: Any) -> None:
        found[name] = command.help or ""
        for parameter in command.params:
            if not GENERATED.intersection(parameter.opts):
                found[f"{name} {'/'.join(parameter.opts)}"] = parameter.help or ""
        for below, each in getattr(command, "commands", {}).items():
            add(f"{name} {below}", each)

    add("stream-triage", typer.main.get_command(app))
    return found


TEXTS = texts()


def test_there_are_texts() -> None:
    assert {"stream-triage run --again", "stream-triage setup kafka --partitions", "stream-triage show run_id"} <= set(TEXTS)
    assert len(TEXTS) > 80


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_a_sentence(name: str) -> None:
    """It begins with a capital letter, ends with a full stop and has at least three words."""
    text = TEXTS[name]
    assert re.match(r"[A-Z]", text), text
    assert text.endswith("."), text
    assert len(text.split()) >= 3, text


@pytest.mark.parametrize("group", GROUPS)
def test_list_of_commands_shows_whole_sentences(group: str) -> None:
    """No first sentence is so long that the list cuts it."""
    _, _, listed = call(*group.split(), "--help").out.partition("Commands:\n")
    lines = listed.splitlines()
    assert len(lines) > 1
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def test_help_states_the_limits_of_the_reduction() -> None:
    """The command repeats the numbers, so as not to load the stage."""
    shown = " ".join(call("reduce", "--help").out.split())
    assert f"at most a tenth of the lines and {AUTO_MOST} are printed" in shown
    assert AUTO_SHARE == 0.1
    assert f"at {['', 'one', 'two', 'three'][int(CHARACTERS_PER_TOKEN)]} characters a token" in shown
