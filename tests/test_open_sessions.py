"""Open runs that wait are kept compressed; no verdict shows it."""

import random
from pathlib import Path

import pytest

from stream_triage import Bundle, Triage, find_bundle
from stream_triage import open_sessions as module
from stream_triage.intake import Intake
from stream_triage.open_sessions import OpenSessions
from stream_triage.records import Chunk, Problem, RunEnd, Tick, Verdict
from stream_triage.sinks.memory import MemorySink
from stream_triage.spool import SpillSpool
from tests.corpus import make_run, tiny_bundle

SAMPLES = Path(__file__).parents[1] / "samples"


def samples(bundle: str) -> list[dict[str, bytes]]:
    paths = sorted((SAMPLES / bundle).iterdir())
    folders = [{file.stem: file.read_bytes() for file in sorted(path.iterdir())} for path in paths if path.is_dir()]
    return folders + [{"": path.read_bytes()} for path in paths if path.is_file()]


def pieces(sources: dict[str, bytes], size: int) -> list[tuple[str, bytes]]:
    return [
        (name, data[start : start + size]) for name, data in sources.items() for start in range(0, len(data), size)
    ]  # fmt: skip


@pytest.mark.parametrize("bundle", ["tm500", "oai5g"])
def test_packing_changes_no_verdict(bundle: str) -> None:
    """Packed after every piece, a run has the very same verdict: all figures, all lines, also while it is open."""
    triage = Triage(Bundle.open(find_bundle(bundle)))
    for sources in samples(bundle):
        plain = triage.session("run")
        packed = OpenSessions(triage, live_bytes=0)
        packed.put("run", triage.session("run"))
        for name, data in pieces(sources, 7001):
            session = packed.unpack("run") if packed.is_packed("run") else packed.live["run"]
            for each in (plain, session):
                each.feed(data, name)
                triage.advance([each])
            packed.put("run", session)
            packed.pack_surplus()
            assert packed.is_packed("run")
        session = packed.unpack("run")
        assert session.peek() == plain.peek()
        assert session.close() == plain.close()
        for name in plain.text.sources():
            assert session.text.read(name, 1, 10_000) == plain.text.read(name, 1, 10_000)


def events(seed: int, count: int) -> list[Chunk | Problem | RunEnd | Tick]:
    """Runs in small pieces, mixed, with headers and damage on the way."""
    randomness = random.Random(seed)
    streams: list[list[Chunk | Problem | RunEnd | Tick]] = []
    for number in range(count):
        run = make_run(randomness.choice(["Pass", "L3"]), seed + number)
        name = f"run-{number}"
        stream: list[Chunk | Problem | RunEnd | Tick] = [
            Chunk(name, data, source, {f"h{randomness.randint(0, 3)}": f"{position}"} if randomness.random() < 0.1 else {})
            for position, (source, data) in enumerate(pieces(run.sources, randomness.randint(20, 400)))
        ]
        stream.insert(randomness.randrange(len(stream)), Problem(name, "torn", name, next(iter(run.sources)), error=False))
        streams.append([*stream, RunEnd(name)])
    mixed: list[Chunk | Problem | RunEnd | Tick] = []
    while streams := [stream for stream in streams if stream]:
        mixed.append(randomness.choice(streams).pop(0))
        if randomness.random() < 0.2:
            mixed.append(Tick())
    return mixed


def judged(seed: int, **limits: int) -> dict[str, Verdict]:
    triage, sink = Triage(tiny_bundle()), MemorySink()
    intake = Intake(triage, [sink])
    if limits:
        intake._open = OpenSessions(triage, **limits)
    for event in events(seed, 12):
        intake.handle(event)
    assert len(intake._open) == 0
    assert (intake._open._size, intake._open._waiting_size, intake._open._waiting) == (0, 0, {})
    assert intake.flush()
    return {run_id: verdict.model_copy(update={"time": None}) for run_id, verdict in sink.verdicts.items()}


@pytest.mark.parametrize("waiting_bytes", [0, 3000, 1 << 20])
@pytest.mark.parametrize("live_bytes", [0, 200_000])
def test_intake_with_packed_runs(live_bytes: int, waiting_bytes: int) -> None:
    """Text, headers and damage reach a packed run in their order, whether they wait beside it or not."""
    for seed in range(3):
        assert judged(seed, live_bytes=live_bytes, waiting_bytes=waiting_bytes) == judged(seed)


def test_runs_that_wait_for_longest_are_packed(bundle: Bundle) -> None:
    """Until the others fit; text that comes for a packed run waits beside it, up to a limit."""
    triage = Triage(bundle)
    one = module.SESSION_BYTES + module.SOURCE_BYTES + 7
    intake = Intake(triage)
    intake._open = runs = OpenSessions(triage, live_bytes=3 * one)
    for number in range(10):
        intake.handle(Chunk(f"run-{number}", b"a line\n", "log"))
    intake.handle(Tick())
    assert list(runs.live) == ["run-7", "run-8", "run-9"]
    intake.handle(Chunk("run-0", b"more\n", "log"))
    assert runs.is_packed("run-0")
    intake.handle(Chunk("run-0", b"x" * module.RUN_WAITING_BYTES, "log"))
    assert not runs.is_packed("run-0")
    intake.handle(Tick())
    assert list(runs.live) == ["run-8", "run-9", "run-0"] or list(runs.live) == ["run-9", "run-0"]
    assert len(runs) == len(list(runs)) == 10


def test_text_that_waits_for_packed_runs_is_limited(bundle: Bundle) -> None:
    """Over all runs: the ones that have waited for longest get theirs, a few at a time."""
    triage = Triage(bundle)
    intake = Intake(triage)
    intake._open = runs = OpenSessions(triage, live_bytes=0, waiting_bytes=20_000)
    for number in range(50):
        intake.handle(Chunk(f"run-{number}", b"a line\n", "log"))
    intake.handle(Tick())
    assert not runs.live
    for piece in range(1000):
        before = len(runs.live)
        intake.handle(Chunk(f"run-{piece % 50}", b"another line\n", "log"))
        assert runs._waiting_size <= 20_000
        assert len(runs.live) - before <= 1
    assert sum(runs._waiting.values()) == runs._waiting_size


def test_open_runs_are_small() -> None:
    """A run of some hundred lines in several sources takes less than 50 KB while it waits."""
    triage = Triage(Bundle.open(find_bundle("oai5g")))
    intake = Intake(triage)
    intake._open = runs = OpenSessions(triage, live_bytes=0)
    for number, sources in enumerate(samples("oai5g") * 3):
        for name, data in sources.items():
            intake.handle(Chunk(f"run-{number}", data, name))
    intake.handle(Tick())
    assert not runs.live
    sizes = [packed.size for packed in runs._packed.values()]
    assert max(sizes) < 50_000
    assert max(sizes[4:]) < 5_000, "runs that are like others take much less"


def test_crowded_sessions_are_packed_before_the_next_batch(bundle: Bundle) -> None:
    """Thousands of runs may begin with one short line each: they are too many long before their text is."""
    triage = Triage(bundle)
    intake = Intake(triage)
    intake._open = runs = OpenSessions(triage, live_bytes=1 << 20)
    most = 0
    for number in range(1200):
        intake.handle(Chunk(f"run-{number}", b"x\n"))
        most = max(most, runs._size)
    assert most <= (1 << 20) + (64 << 20) + module.SESSION_BYTES + module.SOURCE_BYTES + 100
    assert len(runs) == 1200


def test_long_texts_of_packed_runs_are_on_the_disk(bundle: Bundle, tmp_path: Path) -> None:
    """And are read from there when the run goes on."""
    triage = Triage(bundle, open_spool=lambda run_id: SpillSpool(run_id, folder=tmp_path))
    runs = OpenSessions(triage, live_bytes=0)
    session = triage.session("long")
    randomness = random.Random(1)
    lines = [f"{number} {randomness.randbytes(20).hex()}" for number in range(5000)]
    session.feed("\n".join(lines).encode() + b"\n")
    triage.advance([session])
    runs.put("long", session)
    runs.pack_surplus()
    assert sum(packed.size for packed in runs._packed.values()) < 200_000
    session = runs.unpack("long")
    assert session.text.line_count("") == 5000
    assert len(session.text.read("", 1, 5000)) == 5000
    session.text.close()


def test_a_run_that_cannot_be_packed_stays_as_it_is(bundle: Bundle) -> None:
    """Some decoders cannot be copied: their runs are judged all the same, and the others are packed."""
    triage, sink = Triage(bundle), MemorySink()
    intake = Intake(triage, [sink])
    intake._open = runs = OpenSessions(triage, live_bytes=0)
    intake.handle(Chunk("bad", b"a line\n"))
    runs.live["bad"].not_to_be_copied = (line for line in ())  # type: ignore[attr-defined]
    intake.handle(Chunk("good", b"a line\n"))
    intake.handle(Tick())
    assert list(runs.live) == ["bad"]
    intake.handle(RunEnd("bad"))
    intake.handle(RunEnd("good"))
    assert intake.flush()
    assert sorted(sink.verdicts) == ["bad", "good"]
    assert len(runs) == 0
    assert runs._unpackable == set()


def test_packed_runs_can_be_discarded(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what waits for them and their files, and without unpacking them: a worker that stops has thousands."""
    monkeypatch.setattr(module, "PACKED_TEXT_BYTES", 0)
    files = []
    intake = Intake(Triage(bundle, open_spool=lambda run_id: SpillSpool(run_id, folder=tmp_path)))
    intake._open = runs = OpenSessions(intake._triage, live_bytes=0)
    for name in "abc":
        intake.handle(Chunk(name, b"a line\n" * 1500))
    intake.handle(Tick())
    files = [file for packed in runs._packed.values() for file in packed._kept]
    assert len(files) == 3
    intake.handle(Chunk("b", b"more\n"))
    monkeypatch.setattr(module._Packed, "session", None)
    assert intake.discard_open(["b"]) == ["b"]
    assert intake.discard_open() == ["a", "c"]
    assert all(file.closed for file in files)
    assert (len(runs), runs._waiting_size) == (0, 0)
