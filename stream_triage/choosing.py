"""The first lines of each source of a run in, the bundle that knows them out: what `--bundle auto` does.

A bundle is recognised by its templates and by the dialects of its training runs; none of its models is opened for that. What
is looked at is bounded and depends on the lines of a source alone, so neither the cutting of the bytes nor the order of the
sources changes the choice.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from stream_triage.bundle import Bundle
from stream_triage.dialects import Dialects
from stream_triage.stages.detect import NEW
from stream_triage.stages.normalise import MASKING_VERSION, Numbers, key_text, mask
from stream_triage.stages.template import DrainSettings, Templates
from stream_triage.stages.wrappers import Judge, Unwrapper

__all__ = [
    "GENERAL_BUNDLE",
    "Chooser",
    "Counts",
    "Sample",
    "judge_of",
    "known_by_template",
    "open_templates",
    "says_something",
]

GENERAL_BUNDLE: Final = "generic"
"""The bundle for runs that no other knows. Others use its relevance model, unless they have one of their own."""
SAMPLE_LINES: Final = 100
"""Lines with text at the beginning of a source that are looked at."""
SAMPLE_CHARACTERS: Final = 1 << 15
"""Lines behind so many characters are not looked at."""
_LINE_CHARACTERS: Final = 2000
# A bundle that knows so large a share of a source as it is decides without a look below wrappers.
_CLEARLY: Final = 0.75
_MEMO_LINES: Final = 1 << 14
_MARKER: Final = re.compile("<[a-z*]+>")
_LETTERS: Final = re.compile("[A-Za-z]{3,}")


class Counts(NamedTuple):
    """What is known of the sample of one source."""

    lines: int
    """Lines with text."""
    known: tuple[int, ...]
    """How many of them each bundle knows."""
    of_dialects: int
    """How many of them are records of any dialect."""


def open_templates(bundle: Bundle) -> Templates:
    """The templates of a bundle; none at all for one without a detector."""
    if not bundle.card.detectors:
        return Templates([], [], DrainSettings(), MASKING_VERSION)
    return Templates.from_json(bundle.text("templates.json"), MASKING_VERSION)


def says_something(template: str) -> bool:
    """Whether a template has some letters outside its markers; fewer are enough behind a time stamp.

    The end of a foreign line may be a number or a bracket, which says nothing about who wrote it.
    """
    letters = sum(map(str.isalpha, _MARKER.sub("", template)))
    return letters >= (2 if template.startswith("<time> ") else 5)


def known_by_template(lines: Sequence[str], templates: Templates, says: Sequence[bool], numbers: Numbers) -> list[bool]:
    """Whether each line matches a template that says something (`says`, by index), with numbers masked as `numbers` says."""
    masked = key_text(mask("\n".join(lines), numbers)).split("\n") if lines else []
    indexes = [templates.match(line) if line.strip() else NEW for line in masked]
    return [index != NEW and says[index] for index in indexes]


def judge_of(known: Callable[[Sequence[str]], list[bool]], templates: Templates, *, followed: bool) -> Judge:
    """What a bundle says about lines, for those that take wrappers off.

    Lines begin with a time stamp if at least a third of its templates do. Its vocabulary are the words of three letters and
    more in the constant parts of all templates.
    """
    stamped = sum(1 for template in templates.templates if template.startswith("<time> "))
    vocabulary = (word for text in templates.templates for word in _LETTERS.findall(_MARKER.sub(" ", text)))
    words = frozenset(vocabulary) if templates.templates else None
    return Judge(known, 3 * stamped >= len(templates.templates) > 0, followed, words)


class Sample:
    """The first lines of one source, until there are enough."""

    __slots__ = ("characters", "full", "lines", "texts")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.texts = self.characters = 0
        self.full = False

    def add(self, lines: Sequence[str]) -> None:
        """Takes the next lines of the source; those after the sample is full are left alone."""
        for line in lines:
            if self.full:
                return
            self.lines.append(line[:_LINE_CHARACTERS])
            self.texts += bool(line.strip())
            self.characters += len(line) + 1
            self.full = self.texts >= SAMPLE_LINES or self.characters >= SAMPLE_CHARACTERS


class _Recogniser:
    """Tells lines that a bundle knows, by its templates and the dialects that it was trained on."""

    def __init__(self, bundle: Bundle, dialects: Dialects) -> None:
        self.name, self.least = bundle.card.name, bundle.card.review_below_known_share
        self._numbers = bundle.card.numbers
        self._templates = open_templates(bundle)
        self._says = [says_something(template) for template in self._templates.templates]
        followed = "procedures" in bundle.card.classifiers
        trained = bundle.json("procedures.json").get("dialects", ()) if followed else ()
        self._dialects = [(dialect, dialect.table.name in trained) for dialect in dialects.dialects] if trained else []
        self._judge = judge_of(self._by_template, self._templates, followed=followed)
        self._memo: dict[str, bool] = {}

    def count(self, lines: Sequence[str]) -> int:
        """How many of the lines it knows as they are."""
        new = [line for line in dict.fromkeys(lines) if line not in self._memo]
        if len(self._memo) + len(new) > _MEMO_LINES:
            self._memo.clear()
            new = list(dict.fromkeys(lines))
        if new:
            masked = mask("\n".join(new), self._numbers).split("\n")
            by_template = self._by_template(new)
            of_dialect = [self._is_of_dialect(line) for line in masked]
            self._memo.update(
                zip(new, (one or other for one, other in zip(by_template, of_dialect, strict=True)), strict=True)
            )
        return sum(self._memo[line] for line in lines)

    def count_unwrapped(self, lines: Sequence[str], input_format: str) -> int:
        """How many of the lines it knows without the wrappers around them."""
        batches = Unwrapper(self._judge, input_format).take(list(lines), final=True)
        return self.count([body for batch in batches for body in batch.bodies if body.strip()])

    def _by_template(self, lines: Sequence[str]) -> list[bool]:
        return known_by_template(lines, self._templates, self._says, self._numbers)

    def _is_of_dialect(self, masked: str) -> bool:
        for dialect, trained in self._dialects:
            if dialect.record(masked):
                return trained
        return False


class Chooser:
    """Chooses among bundles, in their order; `fallback` is for runs that none of them knows.

    Raises:
        BundleError: A bundle is incomplete.
    """

    def __init__(self, bundles: Sequence[Bundle], fallback: str, dialects: Dialects, input_format: str) -> None:
        self._recognisers = [_Recogniser(bundle, dialects) for bundle in bundles]
        self._dialects = dialects
        self._fallback = fallback
        self._input_format = input_format

    def count(self, sample: Sample) -> Counts:
        """What each bundle knows of a sample."""
        lines = [line for line in sample.lines if line.strip()]
        known = [one.count(lines) for one in self._recognisers]
        if max(known, default=0) < _CLEARLY * len(lines):
            known = [
                max(plain, one.count_unwrapped(sample.lines, self._input_format))
                for plain, one in zip(known, self._recognisers, strict=True)
            ]
        masked = mask("\n".join(lines)).split("\n") if lines else []
        return Counts(len(lines), tuple(known), sum(self._is_of_dialect(line) for line in masked))

    def _is_of_dialect(self, masked: str) -> bool:
        record = next((found for one in self._dialects.dialects if (found := one.record(masked))), None)
        return record is not None and record.layer >= 0

    def choose(self, samples: Sequence[Counts]) -> str:
        """The name of the bundle for a run whose sources have these samples.

        A source belongs to the bundle that knows most of its lines, if these are as many as it asks for. A source of another
        stack belongs to the fallback, and one that nobody knows, such as notes beside the logs, to nobody. A bundle judges a
        run if so many lines of the sources that belong to anybody are of its sources.
        """
        of_bundles, whole = [0] * len(self._recognisers), 0
        for sample in samples:
            owner = max(range(len(sample.known)), key=lambda place: sample.known[place], default=-1)
            if sample.lines and owner >= 0 and sample.known[owner] >= self._recognisers[owner].least * sample.lines:
                of_bundles[owner] += sample.lines
                whole += sample.lines
            elif 2 * sample.of_dialects >= sample.lines:
                whole += sample.lines
        best = max(range(len(of_bundles)), key=lambda place: of_bundles[place], default=-1)
        if best < 0 or not of_bundles[best] or of_bundles[best] < self._recognisers[best].least * whole:
            return self._fallback
        return self._recognisers[best].name
