"""Prepared logs go in, one measurement comes out. Each case runs in a new process, so that its peak memory is its own."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

from drain3.drain import Drain

from benchmarks.corpora import lines_of, read_corpus
from benchmarks.stopwatch import Stopwatch, kept_bytes
from stream_triage import Bundle, Triage, find_bundle, model, pipeline
from stream_triage.pipeline import Session

__all__ = ["CASES", "Measurement", "run_case"]

CHUNK_BYTES = 256 * 1024
STAGES = (
    "assemble",
    "redact",
    "spool",
    "rules",
    "mask",
    "look up",
    "features",
    "detect",
    "fold + classify",
    "windows",
    "verdict",
    "rest",
)


@dataclass(frozen=True)
class Measurement:
    """Result of one case.

    Attributes:
        lines: Lines that were read, as the product cuts them.
        bytes: Size of the logs.
        seconds: Wall-clock time.
        cpu_seconds: CPU time, user and system.
        peak_bytes: Largest memory of the process.
        runs: Number of runs.
        note: A remark for the last column of the table.
        stages: Seconds spent in each stage; empty if the case does not measure them.
        kept: Bytes of memory of an open run, by part; empty if the case does not measure them.
    """

    lines: int
    bytes: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    runs: int = 1
    note: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)


class _Meter:
    """Adds up the time spent within `running`, and what was read."""

    def __init__(self) -> None:
        self.lines = self.bytes = self.runs = 0
        self.seconds = self.cpu_seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start, cpu_start = perf_counter(), process_time()
        yield
        self.seconds += perf_counter() - start
        self.cpu_seconds += process_time() - cpu_start

    def result(
        self, note: str = "", stages: Mapping[str, float] | None = None, kept: Mapping[str, int] | None = None
    ) -> Measurement:
        return Measurement(
            self.lines, self.bytes, self.seconds, self.cpu_seconds, _peak_bytes(), self.runs, note, stages or {}, kept or {}
        )


def run_case(name: str, corpora: Path, bundle: str) -> Measurement:
    """Runs a case in this process.

    Args:
        name: A name from `CASES`.
        corpora: The folder that `write_corpora` has filled.
        bundle: Name or folder of the model bundle.
    """
    case, corpus = CASES[name]
    return case(corpora / corpus, bundle)


def whole_path(corpus: Path, bundle: str) -> Measurement:
    """From bytes to verdicts in one process, one run after the other, without a store."""
    triage, meter, most = _triage(bundle), _Meter(), 0
    kept: dict[str, int] = {}
    for number, run in enumerate(read_corpus(corpus)):
        with meter.running():
            session = triage.session(f"run {number}")
            for source, text in run.items():
                _feed(triage, session, source, text)
            verdict = session.close()
        if verdict.lines > most:
            most, kept = verdict.lines, _kept(session)
        session.text.close()
        meter.lines += verdict.lines
        meter.bytes += sum(map(len, run.values()))
        meter.runs += 1
    return meter.result(kept=kept)


def one_large_run(corpus: Path, bundle: str) -> Measurement:
    """All logs as one run, with the sources they have. The note is the verdict."""
    triage, meter = _triage(bundle), _Meter()
    session = triage.session("large run")
    for run in read_corpus(corpus):
        for source, text in run.items():
            with meter.running():
                _feed(triage, session, source, text)
            meter.bytes += len(text)
    kept = _kept(session)
    with meter.running():
        verdict = session.close()
    meter.lines, meter.runs = verdict.lines, 1
    return meter.result(f"verdict {verdict.label}, {len(verdict.anomalies)} anomalies", kept=kept)


def stage_by_stage(corpus: Path, bundle: str) -> Measurement:
    """Like `whole_path`, with the time of each stage. Stages that a stage calls do not count for it."""
    triage, meter, watch = _triage(bundle), _Meter(), Stopwatch()
    model = next(iter(triage.models.values()))
    with _watched_functions(watch):
        watch.watch(triage.redactor, "lines", "redact")
        watch.watch(model.rules, "update", "rules")
        watch.watch(model, "look_up", "look up")
        watch.watch(model.detector, "update", "detect")
        watch.watch(model.classifier, "read", "features")
        watch.watch(model.classifier, "update", "fold + classify")
        watch.watch(model, "advance", "windows")
        for number, run in enumerate(read_corpus(corpus)):
            with meter.running():
                session = triage.session(f"run {number}")
                watch.watch(session.text, "append", "spool")
                watch.watch(session, "feed", "assemble")
                watch.watch(session, "take_queued", "rest")
                watch.watch(session, "_verdict", "verdict")
                for source, text in run.items():
                    _feed(triage, session, source, text)
                verdict = session.close()
            session.text.close()
            meter.lines += verdict.lines
            meter.bytes += sum(map(len, run.values()))
            meter.runs += 1
    unwatched = meter.seconds - sum(watch.seconds.values())
    stages = {stage: watch.seconds[stage] for stage in STAGES[:-1]} | {"rest": watch.seconds["rest"] + unwatched}
    return meter.result(stages=stages)


def command_line(corpus: Path, bundle: str) -> Measurement:
    """`stream-triage run` as a user calls it, with its start: each folder is a run; the store and the archive are new."""
    home = corpus.parent / f"{corpus.name}-home"
    command = [
        sys.executable,
        "-m",
        "stream_triage",
        "run",
        str(corpus),
        "--run-by",
        "folder",
        "--quiet",
        "--bundle",
        bundle,
    ]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_TRIAGE_")}
    start = perf_counter()
    done = subprocess.run(
        command, env={**settings, "XDG_DATA_HOME": str(home)}, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = perf_counter() - start
    if done.returncode not in (0, 1):  # 1: not every run passed
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}; its messages are above")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = runs = size = 0
    for run in read_corpus(corpus):
        runs += 1
        lines += sum(len(lines_of(text)) for text in run.values())
        size += sum(map(len, run.values()))
    kept = sum(file.stat().st_size for file in home.rglob("*") if file.is_file())
    return Measurement(
        lines,
        size,
        seconds,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss * 1024,
        runs,
        f"store and archive: {kept / 1e6:.0f} MB",
    )


def drain3_alone(corpus: Path, bundle: str) -> Measurement:
    """The same lines through drain3 with its defaults: it learns, and nothing is masked. Cutting lines is not counted."""
    meter, drain = _Meter(), Drain()
    for run in read_corpus(corpus):
        for text in run.values():
            lines = lines_of(text)
            with meter.running():
                for line in lines:
                    drain.add_log_message(line)
            meter.lines += len(lines)
            meter.bytes += len(text)
        meter.runs += 1
    return meter.result(f"{len(drain.clusters)} clusters")


CASES: Mapping[str, tuple[Callable[[Path, str], Measurement], str]] = {
    "whole path, OAI": (whole_path, "oai"),
    "whole path, CI": (whole_path, "ci"),
    "drain3 alone, OAI": (drain3_alone, "oai"),
    "drain3 alone, CI": (drain3_alone, "ci"),
    "one large run, OAI": (one_large_run, "large-oai"),
    "one large run, CI": (one_large_run, "large-ci"),
    "command line, OAI": (command_line, "oai"),
    "stages, OAI": (stage_by_stage, "oai"),
    "stages, CI": (stage_by_stage, "ci"),
}
"""For each name: what is measured, and the folder of logs for it."""


def _peak_bytes() -> int:
    """The largest memory of this process. `ru_maxrss` would be wrong: a process inherits it from its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _triage(bundle: str) -> Triage:
    return Triage(Bundle.open(find_bundle(bundle)))


def _feed(triage: Triage, session: Session, source: str, text: bytes) -> None:
    for start in range(0, len(text), CHUNK_BYTES):
        session.feed(text[start : start + CHUNK_BYTES], source)
        triage.advance([session])


@contextmanager
def _watched_functions(watch: Stopwatch) -> Iterator[None]:
    """Clocks on the functions that model.py and pipeline.py import by name."""
    functions = ((model, "mask", "mask"), (pipeline, "fold", "fold + classify"))
    before = [getattr(module, name) for module, name, _ in functions]
    for module, name, stage in functions:
        watch.watch(module, name, stage)
    try:
        yield
    finally:
        for (module, name, _), function in zip(functions, before, strict=True):
            setattr(module, name, function)


def _kept(session: Session) -> dict[str, int]:
    """What an open run keeps: state by source, and the spool with its index and the text it holds in memory."""
    kept = {f"source {name}": kept_bytes(state) for name, state in sorted(session.sources.items())}
    return kept | {"spool": kept_bytes(session.text)}
