"""The data folder goes in, plain log files come out, so that unpacking costs the measured processes no time and memory.

`write_corpora` writes a folder for each run and a file for each source:

    oai/00001/cu.log, du.log, ue.log   all OpenAirInterface runs
    ci/00001/log.log                   CI logs with `ci_lines` lines in all; the last one is cut to fit
    large-oai/, large-ci/              the same logs, repeated until they have `large_bytes`
"""

import json
import lzma
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path

import zstandard

from stream_triage import Triage, Verdict
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.decode import Decoder

__all__ = ["OAI", "MissingDataError", "judge", "lines_of", "read_corpus", "write_corpora"]

OAI = Path("ran", "oai_rfsim_runs.jsonl.xz")
CI = Path("ci", "bugswarm_travis_gha_logs.tar.zst")
OAI_SOURCES = ("cu", "du", "ue")
# The CI archive was packed with `zstd --long=27`.
WINDOW_BYTES = 1 << 27
LINE_BYTES = 65_536

Texts = Mapping[str, bytes]
"""One run: source name to text."""


class MissingDataError(Exception):
    """A file is missing in the data folder; the message says how to name the right folder."""


def judge(triage: Triage, sources: Mapping[str, bytes]) -> Verdict:
    """The verdict on a whole run: name and text of each source."""
    session = triage.session("run")
    for name, text in sources.items():
        session.feed(text, name)
    try:
        return session.close()
    finally:
        session.text.close()


def lines_of(data: bytes) -> list[str]:
    """The lines as the product cuts them. A bare CR also ends a line, so CI logs have more lines than `wc -l` counts."""
    decoder, cutter = Decoder(), LineCutter(LINE_BYTES)
    return cutter.feed(decoder.feed(data) + decoder.finish()) + cutter.finish()


def read_corpus(folder: Path) -> Iterator[Texts]:
    """Yields the runs of a folder that `write_corpora` has written, one at a time."""
    for run in sorted(folder.iterdir()):
        yield {file.stem: file.read_bytes() for file in sorted(run.iterdir())}


def write_corpora(data: Path, into: Path, *, ci_lines: int, large_bytes: int) -> None:
    """Writes the four folders of logs.

    Args:
        data: Folder of real logs.
        into: Where the folders are created.
        ci_lines: Number of CI lines.
        large_bytes: Least size of each of the two large folders.

    Raises:
        MissingDataError: The data folder lacks a file.
    """
    for file in (OAI, CI):
        if not (data / file).is_file():
            raise MissingDataError(
                f"{data / file} does not exist; name the folder of real logs with --data DIR or STREAM_TRIAGE_DATA"
            )
    _write(_oai_runs(data / OAI), into / "oai")
    _write(_first_lines(_ci_runs(data / CI), ci_lines), into / "ci")
    _write(_first_bytes(_again(_oai_runs, data / OAI), large_bytes), into / "large-oai")
    _write(_first_bytes(_again(_ci_runs, data / CI), large_bytes), into / "large-ci")


def _write(runs: Iterable[Texts], folder: Path) -> None:
    for number, run in enumerate(runs, 1):
        run_folder = folder / f"{number:05d}"
        run_folder.mkdir(parents=True)
        for source, text in run.items():
            (run_folder / f"{source}.log").write_bytes(text)


def _oai_runs(path: Path) -> Iterator[Texts]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield {source: row[source].encode() for source in OAI_SOURCES if row[source]}


def _ci_runs(path: Path) -> Iterator[Texts]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    with path.open("rb") as file, tarfile.open(fileobj=unpacker.stream_reader(file), mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member)  # None for folders
            if content is not None:
                yield {"log": content.read()}


def _again(read: Callable[[Path], Iterator[Texts]], path: Path) -> Iterator[Texts]:
    """Yields the runs again and again. They are read each time, because they do not fit into memory."""
    return chain.from_iterable(read(path) for _ in repeat(None))


def _first_lines(runs: Iterable[Texts], lines: int) -> Iterator[Texts]:
    for run in runs:
        (text,) = run.values()
        of_run = lines_of(text)
        yield run if len(of_run) <= lines else {"log": "".join(f"{line}\n" for line in of_run[:lines]).encode()}
        lines -= len(of_run)
        if lines <= 0:
            return


def _first_bytes(runs: Iterable[Texts], size: int) -> Iterator[Texts]:
    for run in runs:
        yield run
        size -= sum(map(len, run.values()))
        if size <= 0:
            return
