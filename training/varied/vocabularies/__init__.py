"""Vocabularies: how the invented records are worded. Event and values enter, lines leave.

Records of forms that were seen in public logs are worded alike in every run (`seen`). All others are invented, and each
vocabulary words them differently: other words, order of fields, separators, case and abbreviations. Exact are only names of
messages, timers and procedures of 3GPP. No line of one vocabulary is a line of another (a test checks this), so a vocabulary
that is held out is new to a model line by line.
"""

from collections.abc import Mapping
from typing import Any, Final

from training.corpus.messages import MESSAGES as VERSION_1
from training.varied.vocabularies import brackets, camel, keyed, notation, pipes, protocol, releases, sentences

__all__ = ["INVENTED", "UE_FORMS", "VOCABULARIES", "parameter", "seen", "worded"]

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "release_a": {name: message.wordings[0] for name, message in VERSION_1.items()} | releases.RELEASE_A,
    "release_b": {name: message.wordings[-1] for name, message in VERSION_1.items()} | releases.RELEASE_B,
    "keyed": keyed.WORDS,
    "camel": camel.WORDS,
    "notation": notation.WORDS,
    "sentences": sentences.WORDS,
    "pipes": pipes.WORDS,
    "brackets": brackets.WORDS,
}
VOCABULARIES: Final = tuple(_WORDS)
INVENTED: Final = frozenset(keyed.WORDS) | frozenset(protocol.MESSAGES) | frozenset(protocol.TIMERS)
"""Events whose records every vocabulary words on its own."""
UE_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "release_a": ("",), "release_b": ("",),
    "keyed": ("ue={}", "ue_id={}", "ueid={}"),
    "camel": ("Ue({})", "UeId({})", "UeIndex({})"),
    "notation": ("ueId {}", "ue-Id {}", "ue-Identity {}"),
    "sentences": ("UE {}", "Terminal {}", "Mobile {}"),
    "pipes": ("UE={}", "UEID={}", "UE#={}"),
    "brackets": ("ue{}", "ue 0{}", "[ue {}]"),
}  # fmt: skip
"""How vocabularies name a UE; a run uses one of the forms."""


def worded(vocabulary: str, event: str, values: Mapping[str, Any], *, lte: bool) -> list[str]:
    """The lines of an invented record: its payload after `I: CMPI `, and what continues it."""
    words = _WORDS[vocabulary]
    if event in words:
        return (
            words[event].format_map(values).split("|")
            if vocabulary.startswith("release")
            else [words[event].format_map(values)]
        )
    return [protocol.protocol_line(vocabulary, event, values["v"], lte, values)]


def seen(event: str, values: Mapping[str, Any], *, lte: bool) -> list[str]:
    """The lines of a record whose form was seen in public logs; a few have a form of their own in LTE."""
    return VERSION_1[event].wordings[-1 if lte else 0].format_map(values).split("|")


def parameter(vocabulary: str, name: str) -> str:
    """The name of a parameter, which version 1 spells `L1_AGC_MODE`, in the spelling of a vocabulary."""
    if vocabulary in protocol.WRITERS:
        return protocol.WRITERS[vocabulary].parameter(name)
    return name if vocabulary == "release_a" else f"TM_{name}"
