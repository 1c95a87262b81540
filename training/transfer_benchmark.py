"""Measures bundles on runs that differ from those they were trained on, beside the simplest models.

    python -m training.transfer_benchmark --bundle models/tm500
    python -m training.transfer_benchmark --bundle models/tm500 --extra mine=my/logs
    python -m training.transfer_benchmark --quick 10

Both versions of the TM500-style corpus are generated. Bundles without networks are fitted to parts of them, as the shipped
one is fitted to all, and judge what is left: every vocabulary of version 2 once, causes and habits that no other run has,
and the test parts of version 1. The given bundle judges the folders named by --extra, from which nothing is ever learned.
OpenAirInterface runs are judged by bundles fitted to other faults and to another campaign. Writes TRANSFER.md and
results/transfer.json.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from stream_triage.bundle import Bundle
from stream_triage.errors import StreamTriageError
from training.arguments import command_parser
from training.data import CorpusError, LabelledRun, fingerprint
from training.evaluate import MIN_TEST_RUNS
from training.packages import MissingPackageError, require
from training.transfer.measures import counted_labels, error_at_coverage, figures, macro_f1_difference
from training.transfer.page import page
from training.transfer.sets import (
    SERVED,
    TFIDF,
    GivenSet,
    JudgedSet,
    corpus_of,
    fitted_sets,
    given_sets,
    invented_runs,
    oai_sets,
    read_extra,
    set_in_turn,
)

__all__ = ["main", "set_figures"]

ROOT: Final = Path(__file__).parents[1]
VOCABULARY_FOLDS: Final = 4
"""Two of the eight vocabularies are held out at a time."""
TRIAL: Final = Path(".cache", "transfer")
OAI: Final = Path("ran", "oai_rfsim_runs.jsonl.xz")
OAI_CARD: Final = ROOT / "models" / "oai5g" / "card.json"
SEEN: Final = "the given bundle was trained on runs of this set, so its figures show no transfer."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    arguments = _arguments(argv)
    started = time.monotonic()
    try:
        require("xgboost")
        if arguments.oai and not arguments.oai.is_file():
            raise CorpusError(f"{arguments.oai} does not exist; name the OpenAirInterface runs with --oai FILE")
        bundle = Bundle.open(arguments.bundle)
        sets = []
        for judged in _all_sets(arguments, bundle):
            sets.append(set_figures(judged, MIN_TEST_RUNS if arguments.quick == 1 else 1))
            minutes = (time.monotonic() - started) / 60
            print(f"{judged.name}: {_summary(sets[-1])}, after {minutes:.1f} minutes", file=sys.stderr, flush=True)
    except (CorpusError, MissingPackageError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = {
        "bundle": _card(bundle),
        "every": arguments.quick,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "cores": len(os.sched_getaffinity(0)),
        "notes": [_oai_note(arguments.oai)],
        "sets": sets,
    }
    _write(arguments.out, results)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser("training.transfer_benchmark", __doc__)
    data = os.environ.get("STREAM_TRIAGE_DATA")
    parser.add_argument(
        "--bundle", type=Path, default=ROOT / "models" / "tm500", metavar="FOLDER",
        help="bundle that judges the extra folders (default: models/tm500)",
    )  # fmt: skip
    parser.add_argument(
        "--extra", type=_named_folder, action="append", default=[], metavar="NAME=FOLDER",
        help="folder of logs with a labels.csv (columns run or file, and label), only to report on; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--oai", type=Path, default=Path(data, OAI) if data else None, metavar="FILE",
        help="the OpenAirInterface runs (default: those in the folder that STREAM_TRIAGE_DATA names, or none)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", type=int, default=1, metavar="N",
        help="use one in N runs, as a trial of the command; writes to .cache/transfer unless --out is given",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder for TRANSFER.md and results/transfer.json (default: training)"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick < 1:
        parser.error("--quick must be 1 or more")
    arguments.out = arguments.out or (ROOT / "training" if arguments.quick == 1 else TRIAL)
    return arguments


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def _all_sets(arguments: argparse.Namespace, bundle: Bundle) -> Iterator[JudgedSet]:
    """Every set, one after the other: each takes minutes."""
    every, foreign = arguments.quick, []
    for name, folder in arguments.extra:  # before the long work, so that a wrong folder is noticed at once
        some = read_extra(folder)
        foreign.append(GivenSet(name, some[::every], "cause", _notes(bundle, some)))
    invented = invented_runs(every=every)
    # One corpus, so that every line is masked once. Only the invented runs are ever learned from.
    corpus, runs = corpus_of([*invented, *(run for one in foreign for run in one.runs)], labels_of=invented), len(invented)
    yield set_in_turn(corpus, runs, "vocabulary", "version 2, vocabulary", folds=VOCABULARY_FOLDS, version="2")
    yield from fitted_sets(corpus, runs, ("causes", "habits"), "version 2", version="2")
    yield from fitted_sets(corpus, runs, ("easy", "hard"), "version 1", version="1")
    if foreign:
        yield from given_sets(bundle, corpus, runs, foreign)
    if arguments.oai:
        yield from oai_sets(arguments.oai, every)


def _notes(bundle: Bundle, runs: Sequence[LabelledRun]) -> list[str]:
    """Says that the bundle was trained on runs of this set, if it was."""
    return [SEEN] if bundle.card.training.get("fingerprint") == fingerprint(runs) else []


def set_figures(judged: JudgedSet, min_runs: int = MIN_TEST_RUNS) -> dict[str, Any]:
    """All figures of a set, as they are written to JSON; macro-F1 is over labels with at least `min_runs` runs."""
    labels = counted_labels(judged.true, min_runs)
    models = {
        model: {
            **figures(judged.true, judged.groups, answers, min_runs),
            "error_at_coverage": error_at_coverage(judged.true, answers),
        }
        for model, answers in judged.answers.items()
    }
    served, tfidf = judged.answers[SERVED], judged.answers[TFIDF]
    return {
        "name": judged.name,
        "judged_by": judged.judged_by,
        "grouped_by": judged.grouped_by,
        "runs": len(judged.true),
        "groups": len(set(judged.groups)),
        "labels": dict(sorted(Counter(judged.true.tolist()).items())),
        "counted": labels,
        "min_runs": min_runs,
        "notes": list(judged.notes),
        "models": models,
        "less_tfidf": macro_f1_difference(judged.true, judged.groups, served, tfidf, labels),
    }


def _summary(figures_of_set: dict[str, Any]) -> str:
    models = figures_of_set["models"]
    return "macro-F1 " + ", ".join(f"{model} {one['macro_f1']['value']}" for model, one in models.items())


def _card(bundle: Bundle) -> dict[str, Any]:
    card = bundle.card
    source = card.training.get("source", "source unknown")
    return {"name": card.name, "version": card.version, "runs": card.training.get("runs", 0), "source": source}


def _oai_note(oai: Path | None) -> str:
    """What the page says of the OpenAirInterface runs beside the figures of the bundles that are fitted here."""
    if oai is None:
        return "OpenAirInterface runs were not measured: STREAM_TRIAGE_DATA names no folder of real logs."
    card = json.loads(OAI_CARD.read_text())
    score = card["scores"]["injected_key"]["macro_f1"]
    return (
        "The bundles that are fitted to OpenAirInterface runs here have no networks, to save time. With networks, "
        f"`{card['name']}` {card['version']} reaches macro-F1 {score['mean']:.3f} by injected fault according to its card, "
        f"as the mean of {len(score['values'])} folds."
    )


def _write(out: Path, results: dict[str, Any]) -> None:
    (out / "results").mkdir(parents=True, exist_ok=True)
    (out / "results" / "transfer.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "TRANSFER.md").write_text(page(results), encoding="utf-8")
    print(out / "TRANSFER.md")


if __name__ == "__main__":
    raise SystemExit(main())
