"""States of all sources and a label in; the sentence that says why the run has it, and the lines that come first, out."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from stream_triage.dialects import LAYERS
from stream_triage.dialects.table import Layer
from stream_triage.records import cut, line_in_words
from stream_triage.stages.procedures.breaks import LAYER_WORDS, RunBreak, run_breaks
from stream_triage.stages.procedures.course import COMPLETED, FAILED, REFUSED
from stream_triage.stages.procedures.follow import Follower, ProcedureState

__all__ = ["Reason", "reason_of"]

# Lines of breaks that lead the evidence.
LEADING: Final = 3
# A cause code with its name, such as `#12 (Tracking area not allowed)`, and other words behind `cause`.
_CODE: Final = re.compile(
    r"(?i)\b(?:cause|reject|failure|5gmm|5gsm|emm|esm)\w*\b[^#\n]{0,40}?(#\s?\d{1,3}\b(?:\s*\([^()]{1,60}\))?)"
)
_CAUSE: Final = re.compile(r"(?i)\b(?:(?:cause|reason|failure)\s*[:=-]\s*|cause\s+(?=\d))([^\s,;][^,;]{0,59})")
# What a line begins with that is no message.
_TIME: Final = re.compile(r"^[\s\d/.:,TZ+-]*")
# Characters of a record that a sentence quotes.
MAX_QUOTED: Final = 90
# UEs that a sentence names.
NAMED: Final = 5


class Reason(NamedTuple):
    """Why a run has its label."""

    sentence: str
    lines: tuple[tuple[str, int], ...] = ()
    """Source and number of the lines that show it, the cause first."""
    place: str = ""
    """The line that the sentence is about."""
    refused: bool = False
    """Whether that line is a refusal or a failure, which may state its cause."""
    quoted: bool = False
    """Whether the sentence only says how often a record came, so that it needs the record."""

    def text(self, record: Sequence[str] = ()) -> str:
        """The sentence with its place, and with the cause that the record states; `record` are its first lines."""
        cause = _stated_cause(record) if self.refused else _quoted(record) if self.quoted else ""
        return self.sentence + (f": {cause}" if cause else "") + (f" ({self.place})" if self.place else "")


def reason_of(follower: Follower, states: Mapping[str, ProcedureState], label: str, *, passed: bool) -> Reason:
    """The reason as far as procedures show it: what broke first in the layer of the label.

    A procedure may break in a layer above that of the label. Then the first trouble of the label's layer comes first.
    """
    if passed:
        return Reason(_passing(follower, states))
    breaks = run_breaks(follower, states)
    labels = follower.dialects.procedures.labels
    fitting = [found for found in breaks if labels.get(LAYERS[found.layer]) == label]
    if fitting:
        return _reason(fitting[0], fitting, states)
    troubles = sorted(_troubles(states, labels, label))
    if not breaks or not troubles:
        return Reason("")
    (line, source, layer), first = troubles[0], breaks[0]
    reason = _reason(first, breaks, states)
    if line > first.line:
        return reason
    sentence = f"{reason.text()}; before it, trouble of {LAYER_WORDS[layer]}"
    return Reason(sentence, ((source, line), *reason.lines)[:LEADING], line_in_words(source, line))


def _reason(first: RunBreak, breaks: Sequence[RunBreak], states: Mapping[str, ProcedureState]) -> Reason:
    alike = [found for found in breaks if found.words == first.words and found.source == first.source]
    lines = tuple(dict.fromkeys((found.source, found.line) for found in [first, *breaks]))
    sentence = first.words.format(who=_who(alike, states))
    place, states_cause = line_in_words(first.source, first.line), first.how in ("refused", "failed")
    return Reason(sentence, lines[:LEADING], place, states_cause, first.how == "repeated")


def _quoted(record: Sequence[str]) -> str:
    """The first line of a record without its time, in quotes."""
    text = _printable(_TIME.sub("", record[0]).strip()) if record else ""
    return f'"{cut(text, MAX_QUOTED)}"' if text else ""


def _stated_cause(record: Sequence[str]) -> str:
    """The cause in a record, as the log has it: a code of 3GPP, or the words behind `cause`."""
    for pattern in (_CODE, _CAUSE):
        for line in record:
            if match := pattern.search(line):
                return _printable(" ".join(match[1].split()))
    return ""


def _printable(text: str) -> str:
    """The text without what controls a terminal or the order of characters."""
    return "".join(char for char in text if char.isprintable())


def _troubles(
    states: Mapping[str, ProcedureState], labels: Mapping[Layer, str], label: str
) -> Iterator[tuple[int, str, int]]:
    """First line, source and layer of each kind of trouble in the layers of a label."""
    for source, state in states.items():
        for kinds in (state.alone, *(course.kinds for course in state.ues.values())):
            for (layer, _), repeats in kinds.items():
                if layer >= 0 and labels.get(LAYERS[layer]) == label:
                    yield repeats.first, source, layer


def _passing(follower: Follower, states: Mapping[str, ProcedureState]) -> str:
    """How far the UEs came, or that they were refused as the script expects."""
    index = follower.procedures.index
    refused = sum(
        1
        for state in states.values()
        if follower.refusal_expected(state)
        for course in state.ues.values()
        if course.count(index["registration"], REFUSED, FAILED) or course.count(index["authentication"], REFUSED)
    )
    if refused:
        return f"{refused} UE{'s' if refused > 1 else ''} refused, as the script expects"
    for name, words in (("session", "got a session"), ("registration", "registered"), ("connection", "connected")):
        ues = {ue for state in states.values() for ue, course in state.ues.items() if course.count(index[name], COMPLETED)}
        if ues:
            return f"{len(ues)} UE{'s' if len(ues) > 1 else ''} {words}"
    return ""


def _who(alike: Sequence[RunBreak], states: Mapping[str, ProcedureState]) -> str:
    """The UEs of these breaks, or the network function whose log it is."""
    ues = list(dict.fromkeys(found.ue for found in alike if found.ue))
    if not ues:
        if alike[0].ue is not None:
            return "the UE"
        return f"the {alike[0].source.upper()}" if alike[0].source and len(states) > 1 else "the program"
    shown = [ue.upper() if " " in ue else ue for ue in ues[:NAMED]]
    rest = len(ues) - len(shown)
    words = ", ".join(shown[:-1]) + f" and {shown[-1]}" if len(shown) > 1 and not rest else ", ".join(shown)
    return f"UE {words}" + (f" and {rest} more" if rest else "")
