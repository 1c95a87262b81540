"""Mutation testing of the edges: how many small faults in the code do the fast tests notice?

    make mutants                      # all modules below; may be interrupted and called again
    make mutants ONLY=worker/engine   # modules whose name contains this text

For each module of `TARGETS` a seeded sample of mutants is drawn: an operator, number, condition or loop is changed. The
fast tests named beside the module run on each. A mutant is killed when a test fails or the time is up. Cosmic Ray makes the
mutants and keeps the results in a database for each module and version of its code. When the tests have changed, only the
survivors are tested again. Each process works on its own copy of the checkout.

This file runs in the environment of requirements/mutants.txt; the tests run in that of the developer.
"""

import argparse
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".cache" / "mutants"
SAMPLE, SEED = 40, 18
TIMEOUT_SECONDS = 120.0
WANTED_SHARE = 0.85
# `X | None` in annotations: such a mutant fails at import and says nothing about the tests.
EXCLUDED = "core/ReplaceBinaryOperator_BitOr"

# Module below stream_triage/, and the fast tests that are about it.
TARGETS: dict[str, tuple[str, ...]] = {
    "worker/engine": (
        "tests/worker/test_engine_flush.py",
        "tests/worker/test_engine_rejected.py",
        "tests/worker/test_engine.py",
    ),
    "worker/runs": ("tests/worker/test_runs.py", "tests/worker/test_runs_read_again.py", "tests/worker/test_transitions.py"),
    "worker/sequence": (
        "tests/worker/test_sequence.py",
        "tests/worker/test_runs.py",
        "tests/worker/test_runs_read_again.py",
    ),
    "identity": ("tests/test_identity.py",),
    "intake": ("tests/test_intake.py", "tests/test_identity.py", "tests/provisional"),
    "forgetting": ("tests/test_operations.py", "tests/test_operations_servers.py", "tests/edges/test_forget.py"),
    "operations": ("tests/test_operations.py", "tests/test_operations_servers.py"),
    "replaying": ("tests/test_operations_servers.py",),
    "alerting/rules": ("tests/alerting",),
    "alerting/outbox": ("tests/alerting", "tests/edges/test_outbox_sink.py"),
    "alerting/notify": ("tests/alerting",),
    "sinks/archive": ("tests/edges/test_archive.py",),
    "sinks/dead_letters": ("tests/edges/test_memory_broker.py",),
    "sinks/jsonl": ("tests/edges/test_jsonl.py",),
    "sinks/kafka": ("tests/edges/test_memory_broker.py",),
    "sinks/memory": ("tests/edges/test_memory_sink.py",),
    "sinks/opensearch": ("tests/edges/test_opensearch_sink.py",),
    "sinks/run_log": ("tests/edges/test_memory_broker.py",),
    "sinks/sqlite": ("tests/edges/test_sqlite.py", "tests/edges/test_sqlite_lists.py"),
    "stages/verdict": ("tests/stages/test_verdict.py",),
    "verdicts": ("tests/test_verdicts.py", "tests/test_pipeline.py"),
    "stages/redact": ("tests/stages/test_redact.py", "tests/stages/test_redactor.py"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the samples and prints a Markdown table; 1 when less than `WANTED_SHARE` of the mutants were killed."""
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="modules whose name contains this text")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, each with its own copy of the checkout")
    parser.add_argument("--report", action="store_true", help="run nothing, print what is known")
    options = parser.parse_args(arguments)
    modules = [module for target in TARGETS for module in _modules(target) if options.only in module]
    if not options.report:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            trees.put(_copy_checkout(WORK / f"tree-{number}"))
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda module: _run(module, trees), modules))
    return _report(modules)


def _modules(target: str) -> list[str]:
    """A folder stands for each of its modules."""
    place = ROOT / "stream_triage" / target
    if not place.is_dir():
        return [target]
    return sorted(str(path.relative_to(ROOT / "stream_triage").with_suffix("")) for path in place.rglob("*.py"))


def _tests(module: str) -> tuple[str, ...]:
    return next(tests for target, tests in TARGETS.items() if module == target or module.startswith(f"{target}/"))


def _copy_checkout(tree: Path) -> Path:
    """The working tree as it is, changes included: mutants are written into files."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{SAMPLE} {SEED}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _session(module: str) -> Path:
    """The database of a module, named by its code and the sample."""
    return WORK / "sessions" / f"{module.replace('/', '.')}-{_digest([ROOT / 'stream_triage' / f'{module}.py'])}.sqlite"


def _digest_of_tests(module: str) -> str:
    """Contracts and fixtures lie beside the tests, so all modules of their folders count."""
    folders = {path if path.is_dir() else path.parent for path in (ROOT / test for test in _tests(module))}
    return _digest(sorted({file for folder in folders for file in folder.glob("*.py")}))


def _run(module: str, trees: "SimpleQueue[Path]") -> None:
    tree = trees.get()
    try:
        _test_mutants(module, tree)
    finally:
        trees.put(tree)


def _test_mutants(module: str, tree: Path) -> None:
    session = _session(module)
    session.parent.mkdir(parents=True, exist_ok=True)
    tests = " ".join(_tests(module))
    command = f"{ROOT / '.venv/bin/python'} -m pytest -n 0 -x -q -p no:cacheprovider {tests}"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'connectors/shipper'}",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    config = session.with_suffix(".toml")
    config.write_text(
        "[cosmic-ray]\n"
        f'module-path = "stream_triage/{module}.py"\n'
        f"timeout = {TIMEOUT_SECONDS}\n"
        "excluded-modules = []\n"
        f'test-command = "{command}"\n'
        "[cosmic-ray.distributor]\n"
        'name = "local"\n'
    )
    tool = [str(Path(sys.executable).with_name("cosmic-ray"))]
    if not session.exists():
        unchanged = subprocess.run(command.split(), cwd=tree, env=environment, capture_output=True, text=True)
        if unchanged.returncode:
            raise SystemExit(f"the tests of {module} fail without a mutant:\n{unchanged.stdout[-2000:]}")
        started = session.with_suffix(".new")
        started.unlink(missing_ok=True)
        subprocess.run([*tool, "init", str(config), str(started)], cwd=tree, env=environment, check=True)
        _draw(started, module)
        started.rename(session)
    tested_by = session.with_suffix(".tests")
    if tested_by.exists() and tested_by.read_text() != _digest_of_tests(module):
        _forget_survivors(session)
    tested_by.write_text(_digest_of_tests(module))
    subprocess.run([*tool, "exec", str(config), str(session)], cwd=tree, env=environment, check=True)
    outcomes = [outcome for _, outcome in _outcomes(session)]
    killed = sum(outcome.test_outcome != TestOutcome.SURVIVED for outcome in outcomes)
    print(f"{module}: {killed} of {len(outcomes)} mutants killed", file=sys.stderr, flush=True)


def _draw(session: Path, module: str) -> None:
    """Leaves `SAMPLE` mutants and skips the others.

    Positions are drawn first and then one change of each: a sum has eleven changes, and would fill the sample otherwise.
    """
    rng = random.Random(f"{SEED} {module}")
    with use_db(str(session), WorkDB.Mode.open) as database:
        places: dict[tuple[object, ...], list[WorkItem]] = {}
        for item in sorted(database.work_items, key=_order):
            (change,) = item.mutations
            if not change.operator_name.startswith(EXCLUDED):
                places.setdefault((change.start_pos, change.end_pos), []).append(item)
        drawn = rng.sample(sorted(places), min(SAMPLE, len(places)))
        kept = {rng.choice(places[place]).job_id for place in drawn}
        for item in database.work_items:
            if item.job_id not in kept:
                database.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED))


def _forget_survivors(session: Path) -> None:
    """Makes them due again. Cosmic Ray has no call for that."""
    with closing(sqlite3.connect(session)) as database, database:
        database.execute("DELETE FROM work_results WHERE test_outcome = ?", (TestOutcome.SURVIVED.name,))


def _order(item: WorkItem) -> tuple[object, ...]:
    (change,) = item.mutations
    return (change.start_pos, change.end_pos, change.operator_name, change.occurrence, sorted(change.operator_args.items()))


def _outcomes(session: Path) -> Iterator[tuple[str, WorkResult]]:
    with use_db(str(session), WorkDB.Mode.open) as database:
        yield from (pair for pair in database.results if pair[1].worker_outcome != WorkerOutcome.SKIPPED)


def _report(modules: Iterable[str]) -> int:
    rows, survivors, killed, total = [], [], 0, 0
    for module in modules:
        session = _session(module)
        if not session.exists():
            rows.append(f"| {module} | not run | |")
            continue
        outcomes = [outcome for _, outcome in _outcomes(session)]
        left = [outcome for outcome in outcomes if outcome.test_outcome == TestOutcome.SURVIVED]
        killed, total = killed + len(outcomes) - len(left), total + len(outcomes)
        rows.append(f"| {module} | {len(outcomes)} | {len(outcomes) - len(left)} |")
        survivors += [f"### {module}\n\n```diff\n{_changed_lines(outcome.diff or '')}\n```" for outcome in left]
    share = killed / total if total else 0.0
    print("| module | mutants | killed |\n|---|---|---|", *rows, sep="\n")
    print(f"| all | {total} | {killed} ({share:.1%}) |")
    print("\n## Survivors\n", *survivors, sep="\n\n")
    return 0 if share >= WANTED_SHARE else 1


def _changed_lines(diff: str) -> str:
    return "\n".join(line for line in diff.splitlines() if line[:1] in "+-@" and line[:3] not in ("+++", "---"))


if __name__ == "__main__":
    sys.exit(main())
