"""Where a score comes from: the weights that are shown, and what is left over, add up to it by name."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.records import STARTING_POINT, Explanation, LineShare
from stream_triage.shares import LINES_NAMED, MAX_NAMED, MAX_PARTS, parts_of, rest_of
from stream_triage.stages.classify import Pool
from stream_triage.stages.procedures import FEATURES
from stream_triage.stages.procedures.classifier import Procedures
from stream_triage.stages.procedures.signs import absence, meaning
from stream_triage.stages.procedures.trees import Trees
from tests.corpus import make_run
from tests.stages.test_procedures import ACTIVATE, attached, follow, reestablishment, trouble

SAMPLES = Path(__file__).parent.parent / "samples"


def together(*models: tuple[str, float, Explanation]) -> Explanation:
    """What a pool makes of the explanations of its classifiers, as far as weights of lines go."""
    lines: dict[tuple[str, int], float] = {}
    missing: dict[str, float] = {}
    for _, factor, one in models:
        for share in one.lines:
            lines[share.source, share.number] = lines.get((share.source, share.number), 0.0) + factor * share.weight
        for key, weight in one.missing.items():
            missing[key] = missing.get(key, 0.0) + factor * weight
    rest = sum(factor * one.rest for _, factor, one in models)
    return Explanation([LineShare(*line, weight) for line, weight in lines.items()], missing, rest, models=models)


WORDS = Explanation(
    [LineShare("ue", 1, 2.0), LineShare("ue", 2, -1.0), LineShare("cu", 3, 0.5)],
    {"k": 0.25, "l": 0.75},
    -3.0,
    {STARTING_POINT: -2.5, "usual words that did not come": -0.5},
)
PROCEDURES = Explanation(
    [LineShare("ue", 1, 1.0, (("unfinished registration", 1.5), ("UEs that failed", -0.5)))],
    {},
    0.5,
    {STARTING_POINT: 0.25, "no sign of trouble of layer 2": 0.25},
)


def test_the_parts_of_a_line_name_the_classifier_and_what_it_saw() -> None:
    """In the weights of the pool: a share of 0.5 halves them."""
    whole = together(("terms", 0.5, WORDS), ("procedures", 1.0, PROCEDURES))
    parts = parts_of(whole, [("ue", 1, ""), ("", 0, "k"), ("ue", 9, "")])
    assert [(one.model, one.what, one.weight) for one in parts["ue", 1, ""]] == [
        ("procedures", "unfinished registration", 1.5),
        ("terms", "", 1.0),
        ("procedures", "UEs that failed", -0.5),
    ]
    assert [(one.model, one.weight) for one in parts["", 0, "k"]] == [("terms", 0.125)]
    assert parts["ue", 9, ""] == ()


def test_the_rest_names_what_is_no_evidence() -> None:
    """First what the classifiers say without a line, then lines that are not shown, for and against, then missing ones."""
    whole = together(("terms", 0.5, WORDS), ("procedures", 1.0, PROCEDURES))
    rest = rest_of(whole, {("ue", 1, ""), ("", 0, "k")})
    assert [(one.model, one.what, one.weight) for one in rest] == [
        ("terms", STARTING_POINT, -1.25),
        ("terms", "usual words that did not come", -0.25),
        ("procedures", STARTING_POINT, 0.25),
        ("procedures", "no sign of trouble of layer 2", 0.25),
        ("", "1 other line for the label: cu:3", 0.25),
        ("", "1 other line against it: ue:2", -0.5),
        ("", "1 other line of usual runs that never came", 0.375),
    ]


def test_many_parts_are_bounded_and_still_add_up() -> None:
    """The strongest are named; the others are one share of their classifier, and the strongest lines stand for all."""
    parts = tuple((f"sign {n}", float(n)) for n in range(1, 20))
    one = Explanation(
        [LineShare("", 1, 190.0, parts), *(LineShare("", n, n / 10) for n in range(2, 50))],
        {},
        190.0,
        {f"absent {n}": float(n) for n in range(1, 20)},
    )
    whole = together(("procedures", 1.0, one))
    (shown,) = parts_of(whole, [("", 1, "")]).values()
    assert len(shown) == MAX_PARTS + 1
    assert (shown[0].what, shown[-1].what, sum(part.weight for part in shown)) == ("sign 19", "other signs", 190.0)
    rest = rest_of(whole, {("", 1, "")})
    assert len(rest) == MAX_NAMED + 2
    assert rest[-1].what == f"48 other lines for the label: {', '.join(f'line {n}' for n in (49, 48, 47)[:LINES_NAMED])}, …"
    assert sum(share.weight for share in rest) == pytest.approx(190.0 + sum(n / 10 for n in range(2, 50)))


def grown(outputs: int, seed: int) -> Trees:
    """A hundred random trees of one split each, a third of them on signs of the runs below."""
    rng = random.Random(seed)
    often = [FEATURES.index(name) for name in ("broken", "bad_registration", "total_l2", "share_broken", "loop_l2")]
    arrays: dict[str, list[float]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "missing_left", "value")
    }
    for tree in range(100):
        split = rng.choice(often) if tree % 3 else rng.randrange(len(FEATURES))
        for node in range(3):
            arrays["feature"].append(split if not node else -1)
            arrays["threshold"].append(rng.choice((0.1, 1.0, 3.0)))
            arrays["left"].append(3 * tree + 1 if not node else 0)
            arrays["right"].append(3 * tree + 2 if not node else 0)
            arrays["missing_left"].append(rng.randrange(2))
            arrays["value"].append(rng.gauss(0.0, 0.5))
    numbers = {"roots": np.arange(0, 300, 3), "outputs": np.arange(100) % outputs, "base": np.zeros(outputs)}
    return Trees({**{name: np.array(values) for name, values in arrays.items()}, **numbers})


RUNS = [
    [*attached(1), *attached(2)],
    [*attached(1), *attached(3, "connected")],
    [*attached(3), *(trouble(3, sn) for sn in (1, 500, 4000)), *reestablishment(3, done=False)],
    [],
]


@pytest.mark.parametrize("lines", RUNS)
@pytest.mark.parametrize(("label", "rival"), [(1, 0), (2, 0), (0, 2), (2, 1)])
def test_procedures_name_every_part_of_their_score(lines: Sequence[str], label: int, rival: int) -> None:
    """Features with a line say what they saw there, features without one what did not come."""
    one = Procedures(
        ("Pass", "L2", "L3"), 0, usual=frozenset(), failed=grown(1, 1), layer=grown(2, 2), layers=(1, 2), temperature=0.8
    )
    states = {"": {"procedures": follow([ACTIVATE, *lines])}}
    pool = Pool({}, {"procedures": 0.6}, temperature=0.5, beside={"procedures": one})
    explanation = pool.explain(states, label, rival, [])
    scores = pool.scores(states)
    items = [(share.source, share.number, "") for share in explanation.lines[:2]]
    parts, rest = parts_of(explanation, items), rest_of(explanation, items)
    total = sum(share.weight for some in (*parts.values(), rest) for share in some)
    assert total == pytest.approx(scores[label] - scores[rival], abs=1e-9)
    for share in explanation.lines[:2]:
        own = parts[share.source, share.number, ""]
        assert sum(part.weight for part in own) == pytest.approx(share.weight, abs=1e-9)
        assert all(part.what for part in own)


def test_every_feature_has_words() -> None:
    """No name of the code shows; whatever a value is, its absence has words too."""
    for name in FEATURES:
        for words in (meaning(name), absence(name, 0.0), absence(name, float("nan")), absence(name, 1.0)):
            assert words
            assert "_" not in words


def assert_adds_up(verdict: Verdict) -> None:
    shown = sum(item.weight for item in verdict.evidence)
    assert shown + sum(share.weight for share in verdict.rest) == pytest.approx(verdict.score, abs=1e-6)
    for item in verdict.evidence:
        if item.kind != "rule":
            assert sum(part.weight for part in item.parts) == pytest.approx(item.weight, abs=1e-6)


@pytest.mark.parametrize("label", ["Pass", "L2", "L3"])
def test_the_score_of_a_verdict_is_the_sum_of_its_weights(triage: Triage, label: str) -> None:
    """Also while the run is open; the probability of the label against its rival is the same number."""
    for seed in range(1000, 1003):
        session = triage.session("r")
        for source, data in make_run(label, seed).sources.items():
            session.feed(data, source)
        for verdict in (session.peek(), session.close()):
            assert_adds_up(verdict)
            odds = verdict.probabilities[verdict.label] / verdict.probabilities[verdict.rival]
            assert np.exp(verdict.score) == pytest.approx(odds, rel=1e-6)


def sample_runs() -> Iterator[tuple[str, Path]]:
    for bundle in ("oai5g", "tm500"):
        for path in sorted((SAMPLES / bundle).iterdir()):
            yield bundle, path


@pytest.mark.parametrize(("bundle", "path"), list(sample_runs()), ids=lambda value: getattr(value, "stem", value))
def test_the_scores_of_the_samples_add_up(bundle: str, path: Path) -> None:
    """Whichever classifiers a shipped bundle has, and with its rules."""
    session = Triage(Bundle.open(find_bundle(bundle))).session("r")
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        session.feed(file.read_bytes(), file.stem if path.is_dir() else "")
    verdict = session.close()
    assert verdict.evidence
    assert_adds_up(verdict)
    assert {part.model for item in verdict.evidence for part in item.parts} <= set(session.model.card.classifiers)
