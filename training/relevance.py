"""Trains the relevance model and writes it as the bundle `generic`.

    python -m training.relevance --data DIR [--out models/generic]

It learns from LogChunks, without the 20 projects that `training.reduction_benchmark` reports on, and from failures planted
into BugSwarm logs of builds that passed. Each LogChunks log is read a second time without the lines of its host, and with
the end of another log behind it, so that neither the host's wording nor the distance from the end counts too much. Takes
four minutes on one core.
"""

import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from stream_triage import __version__
from stream_triage.bundle import Card, write_bundle
from stream_triage.stages.normalise import MASKING_VERSION
from training.arguments import command_parser
from training.ci_logs import CiLog, read_bugswarm, read_logchunks, split_projects
from training.fit.relevance import fit_relevance
from training.planted import TRAINING, plant

__all__ = ["CHUNKS", "SWARM", "foreign", "main", "planted_logs"]

CHUNKS: Final = Path("ci", "logchunks.tar.xz")
SWARM: Final = Path("ci", "bugswarm_travis_gha_logs.tar.zst")
SWARM_SEED: Final = 24
SWARM_LOGS: Final = 400
# The second half of the drawn logs is for tests.
SWARM_TRAINING: Final = 200
LONGEST_TAIL: Final = 300
_OF_HOST: Final = re.compile(
    r"travis_(?:fold|time):|The command \".*\" (?:exited|failed)|Done\. Your build|Your build has been"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, writes the bundle; returns the exit status."""
    parser = command_parser("training.relevance", __doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of real logs")
    parser.add_argument("--out", type=Path, default=Path("models", "generic"), metavar="FOLDER", help="the bundle")
    parser.add_argument("--version", default="1", help="version of the bundle (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    began = time.monotonic()

    def report(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    chunks, _ = split_projects(read_logchunks(options.data / CHUNKS))
    swarm = read_bugswarm(options.data / SWARM, SWARM_LOGS, SWARM_SEED)[:SWARM_TRAINING]
    rng = random.Random(options.seed)  # noqa: S311 - repeatable
    logs = [*chunks, *foreign(chunks, swarm, rng), *planted_logs(swarm, list(TRAINING), rng)]
    report(f"{len(chunks)} labelled logs, {len(logs)} with those made from them")
    files = fit_relevance(logs, options.seed, report)
    card = Card(
        name="generic",
        version=options.version,
        description="relevance of log lines: logistic regression on words, boosted trees on the lines around; no classifier",
        masking_version=MASKING_VERSION,
        classifiers={},
        detectors=(),
        review_below_confidence=0,
        review_below_known_share=0,
        files={},
        training={
            "source": "LogChunks (Zenodo 3632351) without 20 test projects; BugSwarm logs with planted failures",
            "logs": len(logs),
            "projects": len({log.project for log in chunks}),
            "seed": options.seed,
            "stream_triage": __version__,
        },
    )
    write_bundle(options.out, card, files)
    report(f"wrote {options.out}")
    return 0


def foreign(logs: Sequence[CiLog], others: Sequence[CiLog], rng: random.Random) -> list[CiLog]:
    """The logs without what their host wrote, and with the end of another log behind each."""
    return [_foreign(log, rng.choice(others).lines[-rng.randint(1, LONGEST_TAIL) :]) for log in logs]


def _foreign(log: CiLog, tail: Sequence[str]) -> CiLog:
    kept = [i for i, line in enumerate(log.lines) if log.relevant[i] or not _OF_HOST.search(line)]
    lines = [*(log.lines[i] for i in kept), *(line for line in tail if not _OF_HOST.search(line))]
    relevant = np.zeros(len(lines), dtype=bool)
    relevant[: len(kept)] = log.relevant[kept]
    return CiLog(f"{log.name} elsewhere", log.project, lines, relevant, sum(map(bool, map(str.strip, lines))))


def planted_logs(logs: Sequence[CiLog], kinds: Sequence[str], rng: random.Random) -> list[CiLog]:
    """Each log with a failure of one of the kinds in it; the kinds take turns."""
    made = []
    for i, log in enumerate(logs):
        kind = kinds[i % len(kinds)]
        planted = plant(log.lines, kind, rng)
        relevant = np.zeros(len(planted.lines), dtype=bool)
        relevant[planted.first : planted.last + 1] = True
        size = planted.last + 1 - planted.first
        # A kind is a group of its own: the words of a tool must not help to find the same tool.
        made.append(
            CiLog(f"{log.name} with {kind}", f"planted {kind}", planted.lines, relevant, log.whole_lines + size, kind)
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
