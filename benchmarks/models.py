"""Measures the models alone on one thread: time per text of the classifiers, per event of the detectors, and of a peek.

    python -m benchmarks.models [--data DIR] [--bundle oai5g] [--out benchmarks/results/models.md]

Writes a page of tables. Takes about three minutes. `cold` means that every distinct line is read for the first time,
`warm` that all of them are in the cache that the pipeline has for repeated lines. The plain network cannot cache lines; the
one that is measured has the same size and random weights, on which its speed does not depend. Other work on the machine
changes all figures, so compare figures of one run only.
"""

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.arguments import add_data, add_out, benchmark_parser, parse_with_data, write_page
from benchmarks.corpora import MissingDataError, lines_of, read_corpus, write_corpora
from benchmarks.throughput import machine, table
from stream_triage import Bundle, Triage, find_bundle
from stream_triage.inference import Network
from stream_triage.model import Model
from stream_triage.stages.classify import Classifier
from stream_triage.stages.normalise import key_text, mask, words
from stream_triage.stages.template import Templates

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results" / "models.md"
CHARACTERS = (50_000, 200_000, 2_000_000)
REPEATS = 7
PEEK_LINES = 200_000
CHUNK_LINES = 100
CI_LINES = 150_000
# Symbols in a window of the plain network, and how many more are read on each side: more than its receptive field.
PLAIN_WINDOW, PLAIN_HALO = 8_192, 128
PLAIN_STRIDE = 32
# Longest text for the plain network. Its time grows in proportion, and longer texts would take seconds.
PLAIN_MAX_CHARACTERS = 200_000


def main(argv: Sequence[str] | None = None, *, characters: Sequence[int] = CHARACTERS, peek_lines: int = PEEK_LINES) -> int:
    """Measures, prints the page and writes it; returns the exit status.

    Args:
        argv: Command-line arguments; None for those of the process.
        characters: Sizes of the texts for the classifiers.
        peek_lines: Length of the run for the peek.
    """
    parser = benchmark_parser("benchmarks.models", __doc__)
    add_data(parser)
    add_out(parser, RESULTS)
    args = parse_with_data(parser, argv)
    bundle = Bundle.open(find_bundle(args.bundle))
    with TemporaryDirectory(prefix="stream-triage-bench-") as folder:
        try:
            write_corpora(args.data, Path(folder), ci_lines=CI_LINES, large_bytes=1)
        except MissingDataError as error:
            parser.error(str(error))
        page = _page(bundle, Path(folder), characters, peek_lines)
    write_page(page, args.out)
    return 0


def _page(bundle: Bundle, corpora: Path, characters: Sequence[int], peek_lines: int) -> str:
    model = Model(bundle)
    texts = {name: _masked(corpora / folder) for name, folder in (("CI", "ci"), ("OAI", "oai"))}
    parts = [
        "# Models",
        f"{date.today().isoformat()}, {machine()}, one thread, bundle {bundle.card.name}. "
        f"Written by `python -m benchmarks.models`. Figures are the median of {REPEATS} runs. Characters are those of "
        "masked text.",
        "## Classifiers\n\nMilliseconds for a text of the given length. All lines of the CI text are different. The OAI "
        "text consists of the runs one after the other, with their repeated lines.",
        _classifier_table(model, texts, characters),
        "## Detectors\n\nMicroseconds per event, for the same keys.",
        _detector_table(model, texts),
        f"## Peek\n\nOne run of OAI lines in chunks of {CHUNK_LINES} lines, with a provisional verdict after each chunk: "
        "milliseconds per verdict, for three parts of the run.",
        _peek_table(bundle, corpora / "oai", peek_lines),
    ]
    return "\n\n".join(parts) + "\n"


def _masked(corpus: Path) -> list[str]:
    lines: list[str] = []
    for run in read_corpus(corpus):
        for text in run.values():
            lines += mask("\n".join(lines_of(text))).split("\n")
    return lines


def _of_size(lines: Sequence[str], characters: int) -> list[str]:
    """The first lines with so many characters; all lines repeated if there are not enough."""
    chosen: list[str] = []
    while characters > 0:
        for line in lines:
            chosen.append(line)
            characters -= len(line)
            if characters <= 0:
                break
    return chosen


def _median(call: Callable[[], Any]) -> float:
    """Median seconds of a call, after one that is not measured."""
    call()
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return statistics.median(seconds)


def _classifier_table(model: Model, texts: Mapping[str, Sequence[str]], characters: Sequence[int]) -> str:
    kept = {name: [line for line in lines if words(line)] for name, lines in texts.items()}
    kept["CI"] = list(dict.fromkeys(kept["CI"]))
    rows: list[list[str]] = []
    rows += [
        [f"{name}, {state}, {text}"] for text in kept for name in model.classifier.classifiers for state in ("cold", "warm")
    ]
    rows += [[f"plain network of equal size, {text}"] for text in kept]
    plain = _Plain(model)
    for size in characters:
        row = iter(rows)
        for lines in kept.values():
            text = _of_size(lines, size)
            for one in model.classifier.classifiers.values():
                for milliseconds in _cold_and_warm(one, text):
                    next(row).append(f"{milliseconds:.1f}")
        for lines in kept.values():
            next(row).append(
                f"{1e3 * _median(partial(plain, _of_size(lines, size))):.1f}" if size <= PLAIN_MAX_CHARACTERS else ""
            )
    return table(["classifier, cache, text", *(f"{size:,} characters" for size in characters)], rows)


def _cold_and_warm(one: Classifier, text: Sequence[str]) -> tuple[float, float]:
    """Milliseconds if every distinct line has to be read, and if the features of all lines are known."""
    read = _reading(one, text)
    known = read()
    return 1e3 * _median(lambda: _classified(one, read())), 1e3 * _median(lambda: _classified(one, known))


def _reading(one: Classifier, lines: Sequence[str]) -> Callable[[], list[Any]]:
    """Returns a function that computes the features of all lines. It reads each distinct line once, as the pipeline does."""
    distinct = list(dict.fromkeys(lines))
    of_line = [words(line) for line in distinct]

    def read() -> list[Any]:
        known = dict(zip(distinct, one.read(distinct, of_line), strict=True))
        return [known[line] for line in lines]

    return read


def _classified(one: Classifier, features: Sequence[Any]) -> Any:
    state = one.start()
    for first in range(0, len(features), 4096):
        some = features[first : first + 4096]
        one.update(state, some, range(first + 1, first + 1 + len(some)))
        one.advance([state])
    return one.scores({"": state})


class _Plain:
    """The network of the published shape, which reads a text in windows.

    The windows overlap by more than its receptive field, so the result is that of the whole text at once.
    """

    def __init__(self, model: Model) -> None:
        import torch

        from training.networks.charcnn import CharCNNConfig, CharCNNNet
        from training.networks.export import to_onnx

        charcnn: Any = model.classifier.classifiers["charcnn"]
        self._alphabet = charcnn.alphabet
        config = CharCNNConfig(len(charcnn.alphabet), len(model.card.labels), shape="plain", width=charcnn.profile.width)
        network = CharCNNNet(config)
        network.forward = network.plain_features
        example = {"symbols": torch.zeros((1, PLAIN_WINDOW), dtype=torch.long)}
        data = to_onnx(network, example, ["features"], {"symbols": {1: "length"}, "features": {2: "places"}})
        self._network = Network(data, ["symbols"], ["features"], "plain")
        self.width = config.width

    def __call__(self, lines: Sequence[str]) -> Any:
        codes = self._alphabet.encode(lines)
        symbols = np.concatenate([np.append(line, np.uint8(0)) for line in codes]).astype(np.int64)
        padded = np.zeros(PLAIN_HALO + -(-len(symbols) // PLAIN_WINDOW) * PLAIN_WINDOW + PLAIN_HALO, dtype=np.int64)
        padded[PLAIN_HALO : PLAIN_HALO + len(symbols)] = symbols
        maxima = np.zeros(self.width, dtype=np.float32)
        cut = PLAIN_HALO // PLAIN_STRIDE
        for first in range(0, len(padded) - 2 * PLAIN_HALO, PLAIN_WINDOW):
            window = padded[None, first : first + PLAIN_WINDOW + 2 * PLAIN_HALO]
            maxima = np.maximum(maxima, self._network(symbols=window)[0][0, :, cut:-cut].max(axis=1))
        return maxima


def _detector_table(model: Model, texts: Mapping[str, Sequence[str]]) -> str:
    rows = []
    for name, lines in texts.items():
        keys = _keys(model.templates, lines[:100_000])
        events = sum(key != -2 for key in keys)
        for kind, run in _detectors(model, keys):
            rows.append([f"{kind}, {name}", f"{events:,}", f"{1e6 * _median(run) / events:.2f}"])
    return table(["detector, keys", "events", "µs/event"], rows)


def _keys(templates: Templates, lines: Sequence[str]) -> list[int]:
    memo: dict[str, int] = {}
    for line in lines:
        if line not in memo:
            memo[line] = templates.match(key_text(line)) if line.strip() else -2
    return [memo[line] for line in lines]


def _detectors(model: Model, keys: Sequence[int]) -> Iterator[tuple[str, Callable[[], Any]]]:
    def plain() -> None:
        state = model.detector.start()
        for first in range(0, len(keys), 4096):
            some = keys[first : first + 4096]
            model.detector.update(state, some, ["new:0"] * sum(key == -1 for key in some), first + 1)

    def next_key() -> None:
        assert model.next_key
        state = model.next_key.start()
        for first in range(0, len(keys), 4096):
            model.next_key.update(state, keys[first : first + 4096], first + 1)
            model.next_key.advance([state])
        model.next_key.finish({"": state}, final=True)

    yield "plain", plain
    if model.next_key:
        yield "next key", next_key


def _peek_table(bundle: Bundle, corpus: Path, lines: int) -> str:
    """Times of a provisional verdict after each chunk of one run, whose lines come from many OAI runs."""
    text = _raw_lines(corpus, lines)
    triage = Triage(bundle)
    session, seconds = triage.session("long"), []
    for first in range(0, len(text), CHUNK_LINES):
        session.feed(("\n".join(text[first : first + CHUNK_LINES]) + "\n").encode())
        start = perf_counter()
        session.peek()
        seconds.append(perf_counter() - start)
    session.text.close()
    tenth = max(1, len(seconds) // 10)
    parts = {
        "first tenth": seconds[:tenth],
        "middle tenth": seconds[len(seconds) // 2 :][:tenth],
        "last tenth": seconds[-tenth:],
    }
    rows = [[name, f"{1e3 * statistics.median(some):.1f}", f"{1e3 * max(some):.1f}"] for name, some in parts.items()]
    return table([f"of {len(text):,} lines", "median ms", "highest ms"], rows)


def _raw_lines(corpus: Path, count: int) -> list[str]:
    lines: list[str] = []
    for run in read_corpus(corpus):
        for data in run.values():
            lines += lines_of(data)
        if len(lines) >= count:
            break
    return lines[:count]


if __name__ == "__main__":
    sys.exit(main())
