"""A bundle in, its stages ready to use out: templates, classifiers, detectors, rules, and a memory of lines seen before."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle, Card, find_bundle
from stream_triage.choosing import (
    GENERAL_BUNDLE,
    Counts,
    Sample,
    judge_of,
    known_by_template,
    open_templates,
    says_something,
)
from stream_triage.dialects import Dialects, DialectTable, Signal, WithLexicon
from stream_triage.errors import BundleError
from stream_triage.inference import Network
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.charcnn import CharCNN
from stream_triage.stages.classify import Classifier, Pool
from stream_triage.stages.completeness import Clues, CompletenessState, read_clues
from stream_triage.stages.decode import Decoder
from stream_triage.stages.detect import BLANK, NEW, Detector, DetectorProfile
from stream_triage.stages.early_stop import EARLY_STOP, WEIGHTS, EarlyStop
from stream_triage.stages.fold import FoldState, fold_hash
from stream_triage.stages.next_key import INPUTS, OUTPUTS, NextKey
from stream_triage.stages.normalise import MASKING_VERSION, key_text, mask, words
from stream_triage.stages.procedures import ProcedureState
from stream_triage.stages.procedures.classifier import Procedures
from stream_triage.stages.procedures.general import GENERAL, General
from stream_triage.stages.redact import RedactionState
from stream_triage.stages.reduce import ARRAYS, NO_LIMIT, PROFILE, Budget, Reducer, ReducerProfile, Relevance
from stream_triage.stages.rules import RULES_NAME, Rules
from stream_triage.stages.template import NEW_PREFIX
from stream_triage.stages.terms import TermClassifier
from stream_triage.stages.wrappers import Unwrapper

__all__ = ["MaskedLine", "Model", "Models", "SourceState", "bundle_rules"]

# Distinct lines (raw and masked ones each) that are remembered over all runs, and their characters in total.
MEMO_LINES: Final = 65_536
MEMO_CHARACTERS: Final = 1 << 24


class MaskedLine(NamedTuple):
    """All that the models need of one distinct masked line; computed once."""

    key_index: int
    """Index of its template, or `NEW` or `BLANK`."""
    new_key: str
    """Key of a line that matches no template, else empty."""
    fold_hash: int
    features: tuple[Any, ...]
    """One for each classifier; none for a line that folding drops."""
    clues: Clues
    """What it says about the completeness of the log."""
    signal: Signal | None = None
    """What it says about procedures, if the bundle follows them."""


class Model:
    """The stages of one bundle, with its weights and tables."""

    def __init__(
        self,
        bundle: Bundle,
        budget: Budget = NO_LIMIT,
        rules: Rules | None = None,
        dialects: Sequence[DialectTable] = (),
    ) -> None:
        """Hand-written `rules` take precedence over those of the bundle, and `dialects` over those of the package.

        Without labels, no rule can decide or apply.

        Raises:
            BundleError: The bundle is incomplete or was trained on another masking version.
            SettingsError: A rule names a label that the bundle does not have, or two dialects contradict each other.
        """
        card = bundle.card
        if card.masking_version != MASKING_VERSION:
            raise BundleError(
                f"bundle {card.name} was trained on masking version {card.masking_version}, this installation masks by "
                f"version {MASKING_VERSION}; retrain the bundle or install the version it was made with"
            )
        self.card = card
        self.templates = open_templates(bundle)
        self.procedures = _open_procedures(bundle, dialects) if "procedures" in card.classifiers else None
        self.general = self.procedures if isinstance(self.procedures, General) else None
        """The same if it judges runs of any stack."""
        self.classifier = _open_pool(bundle, self.procedures)
        self.detector = _open_detector(bundle, self.templates.keys)
        self.next_key = _open_next_key(bundle, self.templates.keys) if "next_key" in card.detectors else None
        self.reducer = Reducer(_open_relevance(bundle))
        self.budget = budget
        self._rare = _open_rare(bundle)
        self.early_stop = _open_early_stop(bundle)
        self.rules = (rules or Rules()).before(bundle_rules(bundle)) if card.labels else Rules()
        self.rules.check_labels(card.labels)
        self.passing = card.labels.index(card.passing_label) if card.labels else -1
        self._telling = [says_something(template) for template in self.templates.templates]
        self.judge = judge_of(self._known, self.templates, followed=self.procedures is not None)
        self._template_of = dict(zip(self.templates.keys, self.templates.templates, strict=True))
        self._raw, self._masked = _Memo(), _Memo()

    @cached_property
    def scores_of_nothing(self) -> NDArray[np.float64]:
        """The label scores of a run without lines, shape (L,)."""
        return self.classifier.scores({})

    def look_up(self, lines: Sequence[str]) -> list[MaskedLine]:
        """Template key and features of each redacted line.

        An equal line is masked once, and an equal masked line is matched once: logs without times repeat most of their
        lines unchanged (nine in ten lines of the OpenAirInterface runs, one in three of CI logs).
        """
        return self._raw.look_up(lines, self._mask)

    def advance(self, states: Sequence["SourceState"]) -> None:
        """Runs the networks on all full windows of these sources, in joint batches."""
        self.classifier.advance([state.classify for state in states])
        if self.next_key:
            self.next_key.advance([state.next_key for state in states if state.next_key])

    def template(self, key: str) -> str:
        """Template text of a key; empty for keys that the bundle does not know."""
        return self._template_of.get(key, "")

    def is_rare(self, key: str) -> bool:
        """Whether passing runs rarely show a template, or never."""
        return key in self._rare or key.startswith(NEW_PREFIX)

    def line_keys(self, lines: Sequence[str]) -> list[str]:
        """Template key of each redacted line: `new:…` for one that matches no template, empty for a blank one."""
        keys = self.templates.keys
        return [line.new_key or (keys[line.key_index] if line.key_index >= 0 else "") for line in self.look_up(lines)]

    def _known(self, lines: Sequence[str]) -> list[bool]:
        """Whether each line matches a template that says something: the end of a foreign line may be a number or a bracket.

        No features are computed, since wrappers are sought in many variants of a line.
        """
        if self.general:
            return [self.general.reads(line) for line in mask("\n".join(lines)).split("\n")] if lines else []
        if not self._telling:  # a bundle that only reduces logs
            return [False] * len(lines)
        return known_by_template(lines, self.templates, self._telling, self.card.numbers)

    def _mask(self, lines: Sequence[str]) -> list[MaskedLine]:
        masked = mask("\n".join(lines), self.card.numbers).split("\n")
        return self._masked.look_up(masked, self._compute)

    def _compute(self, masked: list[str]) -> list[MaskedLine]:
        """Matches keys line by line, but computes features for all lines at once: networks are faster in batches."""
        line_words = [words(line) for line in masked]
        hashes = [fold_hash(line, of_line) if of_line else 0 for line, of_line in zip(masked, line_words, strict=True)]
        kept = [i for i, value in enumerate(hashes) if value]
        features: list[tuple[Any, ...]] = [()] * len(masked)
        for i, read in zip(
            kept, self.classifier.read([masked[i] for i in kept], [line_words[i] for i in kept]), strict=True
        ):
            features[i] = read
        signals = [self.procedures.signal(line) for line in masked] if self.procedures else [None] * len(masked)
        return [
            MaskedLine(*self._key(line), hashes[i], features[i], read_clues(line), signals[i])
            for i, line in enumerate(masked)
        ]

    def _key(self, masked: str) -> tuple[int, str]:
        """Template index and "", or `NEW` and a key made from the line itself, or `BLANK` and ""."""
        if not masked.strip():
            return BLANK, ""
        text = key_text(masked)
        index = self.templates.match(text)
        return index, self.templates.new_key(text) if index == NEW else ""


class Models(Mapping[str, Model]):
    """Models by the name of their bundle, each opened when it is first asked for."""

    def __init__(self, bundles: Iterable[Bundle], open_model: Callable[[Bundle], Model]) -> None:
        self._bundles = {bundle.card.name: bundle for bundle in bundles}
        self._open = open_model
        self.opened: dict[str, Model] = {}
        """Those that are open, in the order in which they were opened."""

    def __getitem__(self, name: str) -> Model:
        if name not in self.opened:
            self.opened[name] = self._open(self._bundles[name])
        return self.opened[name]

    @property
    def cards(self) -> list[Card]:
        """The cards of all, open or not."""
        return [bundle.card for bundle in self._bundles.values()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bundles)

    def __len__(self) -> int:
        return len(self._bundles)


class SourceState:
    """All that is kept of one source while its run is open. Bounded, except for `queue`."""

    __slots__ = (
        "classify",
        "completeness",
        "counts",
        "cutter",
        "decoder",
        "detect",
        "fold",
        "headers",
        "held",
        "lines",
        "moved_bytes",
        "next_key",
        "notes",
        "problems",
        "procedures",
        "queue",
        "read_lines",
        "redact",
        "redact_prefix",
        "repeated_bytes",
        "repeated_messages",
        "rules",
        "sample",
        "service",
        "source",
        "unwrapper",
    )

    def __init__(
        self,
        decoder: Decoder,
        cutter: LineCutter,
        redact: RedactionState,
        *,
        source: str,
        headers: Mapping[str, str],
        unwrapper: Unwrapper,
    ) -> None:
        self.source = source
        self.headers = headers
        """Those that the run had when the source began."""
        self.decoder = decoder
        self.cutter = cutter
        self.unwrapper = unwrapper
        """Shared by a source and the services whose lines it contains."""
        self.sample: Sample | None = None
        """The first lines, while they are collected to choose a bundle by them."""
        self.held: list[str] = []
        """The lines that wait for that, as many as the sample has, or a few more."""
        self.counts: Counts | None = None
        """What the bundles know of the sample."""
        self.service = False
        """Whether its lines are part of another source."""
        self.moved_bytes = 0
        """Bytes of lines that a service has from its source; below zero for the source."""
        self.queue: list[str] = []
        """Whole lines that have not been through the other stages yet."""
        self.redact = redact
        self.redact_prefix = RedactionState()
        """Of what stands before the lines; it counts with the rest."""
        self.redact_prefix.counts = redact.counts
        self.lines = 0
        self.problems: list[str] = []
        """Damage that was reported from outside, such as an archive that ends early."""
        self.notes: list[str] = []
        """What else was reported from outside."""
        self.repeated_messages = self.repeated_bytes = 0
        """What came twice and was dropped before."""

    def begin(self, model: Model) -> None:
        """Starts all stages of a model, before its first line."""
        self.fold = FoldState()
        self.completeness = CompletenessState()
        self.classify = model.classifier.start()
        self.procedures: ProcedureState | None = self.classify.get("procedures")
        self.detect = model.detector.start()
        self.next_key = model.next_key.start() if model.next_key else None
        self.rules = model.rules.start(self.source, self.headers)
        self.read_lines = 0
        """Lines that match no template, and are records of a dialect that the bundle was trained on."""

    @property
    def known_lines(self) -> int:
        """Lines of a kind that the bundle knows: by their template, or as records of a dialect that it was trained on."""
        return self.detect.known_lines + self.read_lines

    @property
    def bytes(self) -> int:
        """Bytes that its lines had as they came."""
        return max(self.decoder.bytes_consumed + self.moved_bytes, 0)

    @property
    def says_nothing(self) -> bool:
        """Whether services have all its lines but those that a collector wrote about its own work."""
        return not self.service and self.moved_bytes < 0 and not self.detect.lines

    @property
    def only_services(self) -> bool:
        """Whether all its lines belong to services, so that nothing is to be said about the source itself."""
        damage, cuts = self.decoder.damage, self.cutter.cuts
        damaged = self.problems or self.unwrapper.problems or damage != type(damage)() or cuts != type(cuts)()
        noted = self.notes or self.repeated_bytes or self.repeated_messages
        return self.says_nothing and not self.lines and not damaged and not noted


class _Memo:
    """Remembers what was computed for each line; forgets everything when it grows too large."""

    def __init__(self) -> None:
        self._known: dict[str, MaskedLine] = {}
        self._characters = 0

    def look_up(self, lines: Sequence[str], compute: Callable[[list[str]], Iterable[MaskedLine]]) -> list[MaskedLine]:
        """One result for each line; `compute` is called once, with the distinct lines that are not known yet."""
        known, distinct = self._known, dict.fromkeys(lines)
        new = [line for line in distinct if line not in known]
        if new:
            if len(known) + len(new) > MEMO_LINES or self._characters > MEMO_CHARACTERS:
                known.clear()
                self._characters, new = 0, list(distinct)
            known.update(zip(new, compute(new), strict=True))
            self._characters += sum(map(len, new))
        return [known[line] for line in lines]


def bundle_rules(bundle: Bundle) -> Rules:
    """The hand-written rules that a bundle contains; none if it has no such file."""
    if RULES_NAME not in bundle.card.files:
        return Rules()
    return Rules.parse(bundle.data(RULES_NAME), f"{RULES_NAME} of bundle {bundle.location}")


def _open_detector(bundle: Bundle, keys: Sequence[str]) -> Detector:
    if not bundle.card.detectors:
        return Detector(keys, _KNOWS_NOTHING)
    return Detector.from_file(keys, bundle.json("detector.json"))


_KNOWS_NOTHING: Final = DetectorProfile(
    passing_runs=0,
    known=(),
    expected=(),
    expected_share=1.0,
    ends=(),
    lines_low=0,
    lines_high=0,
    threshold=1.0,
    target_false_alarm_rate=0.0,
)


def _open_rare(bundle: Bundle) -> frozenset[str]:
    """Keys that passing runs rarely show."""
    return frozenset(ReducerProfile.from_file(bundle.json("reducer.json")).rare) if bundle.card.detectors else frozenset()


def _open_relevance(bundle: Bundle) -> Relevance:
    """The relevance model of the bundle, or the general one, which knows no system in particular."""
    if PROFILE not in bundle.card.files:
        return _general_relevance()
    return Relevance.from_files(bundle.json(PROFILE), bundle.arrays(ARRAYS))


@cache
def _general_relevance() -> Relevance:
    bundle = Bundle.open(find_bundle(GENERAL_BUNDLE))
    return Relevance.from_files(bundle.json(PROFILE), bundle.arrays(ARRAYS))


def _open_pool(bundle: Bundle, procedures: Procedures | General | None) -> Pool:
    """The classifiers that the card names. Procedures decide too, but have to see every line: they stand beside the pool."""
    card = bundle.card
    classifiers = {str(name): _CLASSIFIERS[name](bundle) for name in card.classifiers if name in _CLASSIFIERS}
    shares = {str(name): share for name, share in card.classifiers.items()}
    return Pool(classifiers, shares, card.temperature, beside={"procedures": procedures} if procedures else None)


def _open_terms(bundle: Bundle) -> TermClassifier:
    return TermClassifier.from_files(bundle.card.labels, bundle.json("terms.json"), bundle.arrays("terms.npz"))


def _open_charcnn(bundle: Bundle) -> CharCNN:
    return CharCNN.from_files(
        bundle.card.labels,
        bundle.json("charcnn.json"),
        bundle.arrays("charcnn.npz"),
        bundle.data("charcnn_lines.onnx"),
        bundle.data("charcnn_run.onnx"),
    )


_CLASSIFIERS: Final[Mapping[str, Callable[[Bundle], Classifier]]] = {"terms": _open_terms, "charcnn": _open_charcnn}


def _open_procedures(bundle: Bundle, own: Sequence[DialectTable]) -> Procedures | General:
    card = bundle.card
    if GENERAL in card.files:
        return General.from_file(card.labels, card.labels.index(card.passing_label), bundle.json(GENERAL), WithLexicon(own))
    dialects = Dialects(own)
    missing = set(card.training.get("dialects", ())) - {dialect.table.name for dialect in dialects.dialects}
    if missing:
        raise BundleError(
            f"bundle {card.name} was trained with the dialect {min(missing)!r}, which is missing; name its file in the "
            "setting dialects"
        )
    passing = card.labels.index(card.passing_label)
    return Procedures.from_files(
        card.labels, passing, bundle.json("procedures.json"), bundle.arrays("procedures.npz"), dialects
    )


def _open_next_key(bundle: Bundle, keys: Sequence[str]) -> NextKey:
    network = Network(bundle.data("next_key.onnx"), INPUTS, OUTPUTS, "next_key.onnx")
    return NextKey.from_file(keys, bundle.json("next_key.json"), network)


def _open_early_stop(bundle: Bundle) -> EarlyStop | None:
    """None where the bundle has no early stop, or no terms, whose presence it scores."""
    if EARLY_STOP not in bundle.card.files or "terms" not in bundle.card.classifiers:
        return None
    terms = len(bundle.json("terms.json")["terms"])
    return EarlyStop.from_files(bundle.json(EARLY_STOP), bundle.arrays(WEIGHTS), terms)
