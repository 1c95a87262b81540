"""A masked line of no dialect in, what it says in the words of 3GPP out: a step of a procedure, or trouble of a layer."""

import re
import tomllib
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from stream_triage.dialects.checks import Entity, Phrases
from stream_triage.dialects.reader import Dialects, Event, Signal, kind_of
from stream_triage.dialects.table import FILES, LAYERS, STEPS, DialectTable, Layer
from stream_triage.dialects.trouble import without_flags
from stream_triage.dialects.words import PhraseIndex, spellings_of, words_of

__all__ = ["WithLexicon"]

# A line names what it is about among its first words.
_WORDS: Final = 60


class _Table(BaseModel):
    """Content of `lexicon.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entities: tuple[Entity, ...]
    events: dict[str, Phrases]
    telling: dict[Layer, Phrases]
    shared: dict[Layer, Phrases]


class WithLexicon(Dialects):
    """All dialects, and the words of 3GPP for lines that are written in none of them.

    >>> dialects = WithLexicon()
    >>> dialects.name(dialects.read("17 vendorX/ctl5 WARN RRCReject received by UE <num:e0>").event)
    'connection refused'
    >>> dialects.read("the quick brown fox was refused").heard
    False
    """

    def __init__(self, own: Sequence[DialectTable] = ()) -> None:
        super().__init__(own)
        table = _table()
        steps = (self.procedures.split(event) for event in table.events)
        self._lexicon_events = [Event(self.procedure_names.index(name), STEPS.index(step)) for name, step in steps]
        self._lexicon: PhraseIndex[tuple[str, int]] = PhraseIndex(
            [
                *((phrase, ("event", number)) for number, some in enumerate(table.events.values()) for phrase in some),
                *((phrase, ("harmless", 0)) for phrase in self.procedures.harmless),
                *self._trouble.phrases(of_records=False),
            ]
        )
        self._layers = dict(_words(table.shared)) | dict(_words(table.telling))
        self._telling = frozenset(words for words, _ in _words(table.telling))
        self._longest = max(len(words.split()) for words in self._layers)
        self.heard_entities = tuple(re.compile(pattern) for pattern in table.entities)

    def read(self, masked: str, usual: Container[int] = frozenset()) -> Signal | None:
        """The signal of a masked line; `heard` if it is written in no dialect and has words of 3GPP."""
        signal = super().read(masked, usual)
        if signal and (signal.layer >= 0 or signal.event or signal.sets_up or _is_part(signal, masked)):
            return signal
        heard = self._hear(masked, usual)
        of_table = signal is not None and bool(signal.cells or signal.continued)
        if heard is None or (of_table and not (heard.event or heard.trouble)):
            return signal
        return heard._replace(calm=signal is not None and signal.calm)

    def _hear(self, masked: str, usual: Container[int]) -> Signal | None:
        spellings = spellings_of(without_flags(masked))
        layer, telling = self._layer(spellings[-1])
        first, troubling, harmless = len(self._lexicon_events), False, False
        for place, words in enumerate(spellings):
            for what, number in self._lexicon.matches(words):
                if what == "event":
                    first = min(first, number)
                elif what == "harmless":
                    harmless = True
                else:
                    troubling = troubling or self._trouble.is_said(number, words, second=place > 0)
        event = self._lexicon_events[first] if first < len(self._lexicon_events) else None
        if event is None and layer < 0:
            return None
        kind = kind_of(words_of(masked))
        trouble = event is None and troubling and not harmless and kind not in usual
        counted = trouble and self._trouble.is_counted(masked)
        return Signal(layer=layer, event=event, trouble=trouble, counted=counted, kind=kind, heard=True, telling=telling)

    def layer_of(self, line: str) -> int:
        """The layer that the words of a line name first; -1 for none."""
        return self._layer(spellings_of(line)[-1])[0]

    def _layer(self, words: str) -> tuple[int, bool]:
        """The layer of the first word that has one, as a log names the module first; whether any word is 3GPP's alone."""
        split = words.split()[:_WORDS]
        found, telling = -1, False
        for start in range(len(split)):
            for length in range(min(self._longest, len(split) - start), 0, -1):
                phrase = " ".join(split[start : start + length])
                if (layer := self._layers.get(phrase)) is not None:
                    found = layer if found < 0 else found
                    telling = telling or phrase in self._telling
                    break
            if telling:
                break
        return found, telling


def _is_part(signal: Signal, masked: str) -> bool:
    """Whether a line that begins no record goes on with one, or is an event of its own in some dialect."""
    indented = masked[:1].isspace() and bool(signal.continued or signal.cells)
    return indented or any(one.plain for one in signal.continued)


def _words(table: Mapping[Layer, Phrases]) -> Iterator[tuple[str, int]]:
    """The words of each phrase with the index of its layer."""
    for layer, phrases in table.items():
        for phrase in phrases:
            yield " ".join(words_of(phrase).split()), LAYERS.index(layer)


@cache
def _table() -> _Table:
    return _Table.model_validate(tomllib.loads((FILES / "lexicon.toml").read_text(encoding="utf-8")))
