"""Checks that the TM500-style corpus is as difficult as it should be and that nothing gives its labels away.

    python -m training.corpus.audit [--runs 3262] [--seed 1]

Prints each figure with its limits, and exits with 1 if one is outside of them. Wherever possible the texts of the logs are
examined, not what the generator knows of them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict

from stream_triage.stages.normalise import mask
from training.arguments import command_parser
from training.corpus.figures import Figure, failures, print_figures
from training.corpus.generate import GeneratedRun, generate
from training.corpus.plan import LABELS, PUBLISHED_TEST, RUNS

__all__ = ["ERROR_WORDS", "audit", "cleaned", "giveaways", "main", "texts", "ungrammatical_lines"]

ERROR_WORDS: Final = (
    "error", "fail", "failed", "failure", "reject", "expired", "expiry", "assert", "timeout", "timed", "lost", "loss",
    "late", "warning", "discarded", "retransmission", "retransmissions", "exceeded", "refused", "cause", "max", "invalid",
    "mismatch",
)  # fmt: skip
# If this share of the runs of some label has an error word, at least a tenth of that share of the passing runs must have it.
FREQUENT: Final = 0.1
# Characters between the cause and its last symptom from which on they count as far apart.
FAR: Final = 20_000
# The first section that may depend on the label.
FIRST_SECTION_WITH_LABEL: Final = "traffic"

_STAMPED: Final = re.compile(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d:\d{3}\t(.*)", re.DOTALL)
_PAYLOAD: Final = re.compile(
    r"(?:\.\.\. )?(?:#\$\$[A-Z_]+\b|[A-Z]{4,10}\b|WAIT(?: FOR \".*\" TIMEOUT)? \d+|(?:forw|FORW) (?:mte|l1|swl) \w+"
    r"|C: [A-Z]+ 0x\d\d \w+|C: CONNECT 0x00 ok|I: (?:CMPI|ERNO|TMAE|REBOOT)\b|\[[\w()]+\]: [\d.]+)"
)
_CONTINUATION: Final = re.compile(r" {2,}\S")
_CRASH: Final = re.compile(rb"Assert Fail|I: REBOOT|being stopped automatically")
_MARKS: Final = re.compile(r"<(?:num:-?e\d+|time|date|ipaddr|id|hex)>")


def audit(runs: Sequence[GeneratedRun]) -> list[Figure]:
    """All figures of a corpus. The limits of shares widen with fewer runs, by three standard errors."""
    return [*proportions(runs), *difficulty(runs), *texts(runs), *giveaways(runs)]


def cleaned(run: GeneratedRun) -> str:
    """Masked text of a run without its markers: about what the published pre-processing would leave."""
    return _MARKS.sub("", mask("\n".join(run.text.decode(errors="replace").split("\r\n"))))


def _slack(share: float, count: int) -> float:
    """Three standard errors of a share of `count` runs."""
    return float(3 * np.sqrt(max(share * (1 - share), 1e-4) / max(count, 1)))


def _at_least(name: str, values: Sequence[bool], share: float) -> Figure:
    return Figure(name, float(np.mean(values)), share - _slack(share, len(values)), 1.0)


def _within(name: str, values: Sequence[bool], low: float, high: float) -> Figure:
    return Figure(name, float(np.mean(values)), low - _slack(low, len(values)), high + _slack(high, len(values)))


def proportions(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """Proportions of the labels in both test parts; no cause and no script of the hard test part may be in training."""
    total = sum(PUBLISHED_TEST.values())
    for split in ("easy_part", "hard_part"):
        test = [run for run in runs if getattr(run, split) == "test"]
        yield Figure(f"{split}: test share", len(test) / len(runs), 0.29, 0.31)
        for label, count in PUBLISHED_TEST.items():
            share = sum(run.label == label for run in test) / len(test)
            yield Figure(
                f"{split}: {label} of the test part", share, count / total - 2 / len(test), count / total + 2 / len(test)
            )
    for name, field in (("causes", "cause"), ("scripts", "script")):
        seen = {getattr(run, field) for run in runs if run.hard_part != "test"} - {""}
        held = {getattr(run, field) for run in runs if run.hard_part == "test"} - {""}
        yield Figure(f"hard: {name} of the test part seen in training", len(seen & held), 0, 0)
        yield Figure(f"hard: {name} of the test part", len(held), 3, 1000)


def difficulty(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """How often a run has abnormal records of other layers, confusers, or no direct record of its cause."""
    failing = [run for run in runs if run.label != "Pass"]
    yield _at_least("failing runs with abnormal records of two layers", [len(run.layers) >= 2 for run in failing], 0.4)
    yield _at_least("passing runs with a confuser", [bool(run.confusers) for run in runs if run.label == "Pass"], 0.3)
    yield _within(
        "failing runs with the root far before the last symptom", [_distance(run) > FAR for run in failing], 0.1, 0.2
    )
    yield _within("failing runs with only absence as evidence", [run.evidence == "absence" for run in failing], 0.04, 0.07)
    for label in LABELS[1:]:
        hidden = [run.evidence != "records" for run in failing if run.label == label]
        yield _within(f"{label} runs without a record of their cause", hidden, 0.05, 0.25)


def _distance(run: GeneratedRun) -> int:
    """Characters from the first record of the cause to the last symptom; 0 if either is missing."""
    if run.root_line is None or run.last_symptom_line is None:
        return 0
    return sum(map(len, run.text.split(b"\r\n")[run.root_line - 1 : run.last_symptom_line]))


def texts(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """Lengths, grammar, times and confirmations of the logs, and what damages them."""
    sizes = np.array([len(cleaned(run)) for run in runs])
    labels = np.array([run.label for run in runs])
    yield Figure("cleaned logs below 50,000 characters", float((sizes < 50_000).mean()), 0.93, 0.97)
    yield Figure("longest cleaned log", float(sizes.max()), 60_000, 200_000)
    for label in LABELS[1:]:
        difference = ks_2samp(sizes[labels == "Pass"], sizes[labels == label])
        # The critical value of the test at 1 %, and a difference of 0.06 that is too small to matter.
        limit = 0.06 + 1.63 * np.sqrt(1 / (labels == "Pass").sum() + 1 / (labels == label).sum())
        yield Figure(f"length of {label} beside Pass (Kolmogorov-Smirnov)", float(difference.statistic), 0, float(limit))
    long = sorted(runs, key=lambda run: -len(run.text))[: max(1, len(runs) // 2)]
    shares = [_statistics_share(run) for run in long if run.category != "L3 tests"]
    yield Figure("long logs with 40 to 80 % statistics", float(np.mean([0.4 <= share <= 0.8 for share in shares])), 0.6, 1)
    yield Figure("lines outside the grammar", sum(len(ungrammatical_lines(run.text)) for run in runs), 0, 0)
    yield Figure("logs with bytes that are not UTF-8", float(np.mean([_damaged(run.text) for run in runs])), 0.002, 0.08)
    yield Figure("logs whose times go back", sum(_goes_back(run.text) for run in runs), 0, 0)
    unstopped = [run for run in runs if b"#$$DISCONNECT" not in run.text]
    silent = sum(not _CRASH.search(run.text) for run in unstopped)
    yield Figure("logs without stop section that did not crash", silent, 0, 0)
    yield _random_access_time(runs)
    yield _answers(runs)


def _statistics_share(run: GeneratedRun) -> float:
    """Share of the characters of a log that are in statistics tables."""
    inside, size = False, 0
    for line in run.text.decode(errors="replace").split("\r\n"):
        if line[:1].isdigit():
            inside = bool(re.search(r"(?i)get(?:ru|rrc|nas)?stats|\t\[", line))
        size += len(line) if inside else 0
    return size / len(run.text)


def ungrammatical_lines(text: bytes) -> list[str]:
    """Lines that are neither a stamped record of a known kind nor the continuation of such a record."""
    lines = text.decode(errors="replace").split("\r\n")
    wrong = [] if lines[-1] == "" else ["the last line has no end"]
    for line in lines[:-1]:
        stamped = _STAMPED.fullmatch(line)
        if not (_PAYLOAD.match(stamped[1]) if stamped else _CONTINUATION.match(line)):
            wrong.append(line)
    return wrong


def _damaged(text: bytes) -> bool:
    return "\ufffd" in text.decode(errors="replace")


def _times(text: bytes) -> list[tuple[str, str]]:
    """Time, in a form that sorts, and payload of each stamped line."""
    rows = (line.partition("\t") for line in text.decode(errors="replace").split("\r\n") if line[:1].isdigit())
    return [(f"{at[6:8]}{at[3:5]}{at[:2]}{at[8:]}", payload) for at, _, payload in rows]


def _goes_back(text: bytes) -> bool:
    times = [at for at, _ in _times(text)]
    return times != sorted(times)


def _milliseconds(at: str) -> int:
    hours, minutes, seconds, milliseconds = at[7:].split(":")
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(milliseconds)


def _random_access_time(runs: Sequence[GeneratedRun]) -> Figure:
    """Share of the random accesses at the first preamble that take a credible time: 3 to 112 ms, and 50 ms of buffering."""
    took = []
    for run in runs:
        begun: dict[str, int] = {}
        for at, payload in _times(run.text):
            if "L2 Random Access" in payload:
                ue = re.search(r"UE Id:\s*(\d+)", payload)
                if ue and "Initiated" in payload:
                    begun[ue[1]] = _milliseconds(at)
                elif ue and "Complete" in payload and "PreambleTxCount: 1)" in payload and ue[1] in begun:
                    took.append(_milliseconds(at) - begun.pop(ue[1]))
    return Figure("random accesses of 3 to 162 ms", float(np.mean([0 <= ms <= 162 for ms in took])), 0.97, 1)


def _answers(runs: Sequence[GeneratedRun]) -> Figure:
    """Share of the confirmations with a command before them; not all, since logs have missing lines."""
    answered = []
    for run in runs:
        waiting: Counter[str] = Counter()
        for _, payload in _times(run.text):
            answer = re.match(r"C: ([A-Z]+) 0x\d\d \w+(?: MTE (\w+))?", payload)
            if answer:
                name = answer[2] or answer[1]
                answered.append(waiting[name] > 0)
                waiting[name] -= waiting[name] > 0
            elif not payload.startswith("I:"):
                words = payload.lstrip(".# $").split()
                name = words[2] if words[0].lower() == "forw" else words[0]
                waiting[name.upper()] += 1
    return Figure("confirmations that answer a command", float(np.mean(answered)), 0.95, 1)


def giveaways(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """How well labels can be predicted from what must not depend on them, and from single words."""
    labels = np.array([run.label for run in runs])
    before = [_before_traffic(run) for run in runs]
    counts = [int((labels == label).sum()) for label in LABELS]
    chance = 1 / len(LABELS)
    # Balanced accuracy of guessing: its standard error over the labels' numbers of runs.
    error = float(np.sqrt(sum(chance * (1 - chance) / count for count in counts)) / len(LABELS))
    yield Figure("labels predicted from the text before the traffic", _predicted_from(before, labels), 0, chance + 3 * error)
    facts: dict[str, Callable[[GeneratedRun], Any]] = {
        "script": lambda run: run.script,
        "category": lambda run: run.category,
        "firmware": lambda run: run.firmware,
        "technology": lambda run: run.rat,
        "number of UEs": lambda run: run.ues,
        "month": lambda run: run.run_id[:6],
    }
    for name, fact in facts.items():
        yield Figure(f"{name} independent of the label (p)", _independence([fact(run) for run in runs], labels), 0.001, 1)
    yield Figure("error words that passing runs hardly have", len(_error_words(runs, labels)), 0, 0)
    yield Figure("best single word (macro-F1 of four labels)", _best_word(runs, labels)[0][1], 0, 0.5)


def _before_traffic(run: GeneratedRun) -> str:
    end = dict(run.sections)[FIRST_SECTION_WITH_LABEL] - 1
    return "\n".join(line.partition("\t")[2] for line in run.text.decode(errors="replace").split("\r\n")[:end])


def _predicted_from(texts: Sequence[str], labels: NDArray[np.str_]) -> float:
    """Cross-validated balanced accuracy of TF-IDF and logistic regression on raw words, with their values."""
    features = TfidfVectorizer(analyzer=_raw_words, min_df=5, sublinear_tf=True).fit_transform(texts)
    model = LogisticRegression(class_weight="balanced", max_iter=200, C=1.0)
    return float(balanced_accuracy_score(labels, cross_val_predict(model, features, labels, cv=5)))


def _raw_words(text: str) -> list[str]:
    return re.findall(r"[^\s,]+", text)


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z][\w-]+|#\d+", text)


def _independence(values: Sequence[Any], labels: NDArray[np.str_]) -> float:
    """p-value of a chi-squared test that the values do not depend on the labels."""
    names, rows = np.unique(np.array([str(value) for value in values]), return_inverse=True)
    table = np.zeros((len(names), len(LABELS)))
    for row, label in zip(rows, labels, strict=True):
        table[row, LABELS.index(label)] += 1
    return float(chi2_contingency(table).pvalue)


def _error_words(runs: Sequence[GeneratedRun], labels: NDArray[np.str_]) -> dict[str, dict[str, float]]:
    """Error words that are frequent in runs of some label but not in passing runs, with their share in each label."""
    holders: dict[str, list[bool]] = defaultdict(list)
    for run in runs:
        words = set(re.findall(r"[a-z]+", run.text.decode(errors="replace").lower()))
        for word in ERROR_WORDS:
            holders[word].append(word in words)
    shares = {
        word: {label: float(np.array(has)[labels == label].mean()) for label in LABELS} for word, has in holders.items()
    }
    return {
        word: share
        for word, share in shares.items()
        if max(share.values()) >= FREQUENT and share["Pass"] < max(share.values()) / 10
    }


def _best_word(runs: Sequence[GeneratedRun], labels: NDArray[np.str_], top: int = 20) -> list[tuple[str, float]]:
    """The words with the best macro-F1 of a rule "with the word one label, without it another", best first."""
    counter = CountVectorizer(analyzer=_words, binary=True, min_df=0.005)
    presence = counter.fit_transform(run.text.decode(errors="replace") for run in runs).tocsc()
    words = counter.get_feature_names_out()
    totals = np.array([(labels == label).sum() for label in LABELS])
    having = np.stack([np.asarray(presence[labels == label].sum(axis=0)).ravel() for label in LABELS], axis=1)
    best = np.zeros(len(words))
    for some in (having, totals - having):  # (words, labels): the runs for which the rule predicts `one`
        others = totals - some
        for one in range(len(LABELS)):
            for other in range(len(LABELS)):
                if one != other:
                    first = 2 * some[:, one] / np.maximum(some.sum(axis=1) + totals[one], 1)
                    second = 2 * others[:, other] / np.maximum(others.sum(axis=1) + totals[other], 1)
                    best = np.maximum(best, (first + second) / len(LABELS))
    order = np.argsort(-best)[:top]
    return [(str(words[i]), float(best[i])) for i in order.tolist()]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 if a figure is outside its limits."""
    parser = command_parser("training.corpus.audit", __doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="number of runs to generate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the corpus (default: %(default)s)")
    arguments = parser.parse_args(argv)
    runs = list(generate(arguments.runs, arguments.seed))
    figures = audit(runs)
    print_figures(figures)
    labels = np.array([run.label for run in runs])
    print("most telling words:", ", ".join(f"{word} {score:.3f}" for word, score in _best_word(runs, labels)))
    print("error words rare in passing runs:", _error_words(runs, labels))
    return 1 if failures(figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
