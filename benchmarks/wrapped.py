"""Runs as programs wrote them in, the same runs as collectors keep them out.

Each wrapper has a usual form and variants: other clocks, separators, service names and banners. They were written without
regard to the patterns of `stream_triage/stages/wrappers`, and share no code with it.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

from benchmarks.corpora import lines_of

__all__ = ["WRAPPERS", "Run", "Wrap", "Wrapped"]

Run = Mapping[str, Sequence[str]]
"""Source name to its lines."""


class Wrapped(NamedTuple):
    """A run as it was collected.

    Attributes:
        sources: Source name to its bytes.
        numbers: Original source to the new number of each of its lines, among those of its source or service.
        positions: The same in the whole log, if that has several services.
    """

    sources: dict[str, bytes]
    numbers: dict[str, list[int]]
    positions: dict[str, list[int]]


Wrap = Callable[[Run, random.Random], Wrapped]

MARK = "##[group]"
_START = datetime(2025, 11, 3, 8, 0, tzinfo=UTC)
_SERVICES = {"": "amarisoft-tester", "cu": "oai-cu", "du": "oai-du", "ue": "oai-nr-ue"}


def _clock(step_ms: int = 37) -> Iterator[datetime]:
    return (_START + timedelta(milliseconds=step_ms * i) for i in count())


def _each(line: Callable[[datetime, str, int], str], banner: Sequence[str] = (), end: Sequence[str] = ()) -> Wrap:
    """Each source by itself; `line` gets the time, the line and its number."""

    def wrap(run: Run, _: random.Random) -> Wrapped:
        wrapped = Wrapped({}, {}, {})
        for source, lines in run.items():
            out, numbers, number = [], [], 1 + len(lines_of(_text(banner)))
            for i, (time, text) in enumerate(zip(_clock(), lines, strict=False), 1):
                out.append(line(time, text, i))
                numbers.append(number + out[-1].count(MARK))
                number += 1 + out[-1].count("\n")
            wrapped.sources[source] = _text([*banner, *out, *end])
            wrapped.numbers[source] = numbers
        return wrapped

    return wrap


def _merged(line: Callable[[datetime, str, str], str], banner: Sequence[str] = (), end: Sequence[str] = ()) -> Wrap:
    """All sources in one log, interleaved; `line` gets the time, the name of the service and the line."""

    def wrap(run: Run, rng: random.Random) -> Wrapped:
        clock, out = _clock(), list(banner)
        positions: dict[str, list[int]] = {source: [] for source in run}
        for source, text in _interleaved(run, rng):
            out.append(line(next(clock), _SERVICES[source], text))
            positions[source].append(len(out))
        numbers = {source: list(range(1, len(lines) + 1)) for source, lines in run.items()}
        return Wrapped({"": _text([*out, *end])}, numbers, positions)

    return wrap


def _interleaved(run: Run, rng: random.Random) -> Iterator[tuple[str, str]]:
    left = {source: list(reversed(lines)) for source, lines in run.items() if lines}
    while left:
        source = rng.choice(sorted(left))
        for _ in range(rng.randint(1, 9)):
            if left[source]:
                yield source, left[source].pop()
        if not left[source]:
            del left[source]


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _iso(time: datetime, digits: int = 3, zone: str = "Z") -> str:
    fraction = f"{time.microsecond:06d}000"[:digits]
    return f"{time:%Y-%m-%dT%H:%M:%S}.{fraction}{zone}"


def _ms(time: datetime) -> str:
    return f"{time.microsecond // 1000:03d}"


def _elapsed(time: datetime) -> float:
    return (time - _START).total_seconds()


def _hms(seconds: float, digits: int = 3) -> str:
    return f"{int(seconds // 3600):02d}:{int(seconds // 60) % 60:02d}:{seconds % 60:0{3 + digits}.{digits}f}"


def _json_file(time: datetime, line: str, _: int) -> str:
    return json.dumps({"log": line + "\n", "stream": "stdout", "time": _iso(time, 9)}, ensure_ascii=False)


def _partial(record: Callable[[datetime, str, bool], str], size: int) -> Wrap:
    """Lines cut into pieces of `size` characters; `record` gets whether a piece is the last one of its line."""

    def line(time: datetime, text: str, _: int) -> str:
        pieces = [text[i : i + size] for i in range(0, len(text), size)] or [""]
        return "\n".join(record(time, piece, i == len(pieces) - 1) for i, piece in enumerate(pieces))

    return _each(line)


def _log_record(time: datetime, piece: str, last: bool) -> str:
    return json.dumps({"log": piece + ("\n" if last else ""), "stream": "stderr", "time": _iso(time, 9)})


def _with_groups(stamp: Callable[[datetime], str], every: int = 150) -> Callable[[datetime, str, int], str]:
    """Each line with a stamp, and now and then a mark of the CI system in a line of its own above it."""

    def line(time: datetime, text: str, number: int) -> str:
        mark = f"{stamp(time)} {MARK}Step {number // every}\n" if number % every == 0 else ""
        return f"{mark}{stamp(time)} {text}"

    return line


def _stamps(render: Callable[[datetime], str], separator: str) -> Wrap:
    """The program's own time stamps in another format; lines without one stay, and so do logs without any."""

    def other(line: str) -> str:
        stamp, tab, rest = line.partition("\t")
        try:
            time = datetime.strptime(stamp, "%d/%m/%y %H:%M:%S:%f").replace(tzinfo=UTC)
        except ValueError:
            return line
        return f"{render(time)}{separator}{rest}" if tab else line

    return _each(lambda *columns: other(columns[1]))


_COLOURS = {"": 33, "oai-cu": 36, "oai-du": 32, "oai-nr-ue": 35, "amarisoft-tester": 33}
_GITHUB_BANNER = [f"{_iso(_START, 6)}0Z {text}" for text in (
    "##[group]Run actions/checkout@v4", "with:", "  repository: lab/farm", "##[endgroup]", "Syncing repository: lab/farm",
    "##[group]Run make attach", "[36;1mmake attach[0m", "shell: /usr/bin/bash -e {0}", "##[endgroup]")]  # fmt: skip
_JENKINS_BANNER = ["Started by user Farm Robot", "Running as SYSTEM", "Building on gnb-host-3 in workspace /var/lib/ws/a",
                   "[Pipeline] Start of Pipeline", "[Pipeline] node", "[Pipeline] {", "[Pipeline] sh"]  # fmt: skip

WRAPPERS: Mapping[str, Sequence[Wrap]] = {
    "Jenkins timestamper": (
        _each(lambda t, x, i: f"[{_iso(t)}] {x}", _JENKINS_BANNER, ["[Pipeline] }", "Finished: SUCCESS"]),
        _each(lambda t, x, i: f"{t:%H:%M:%S}  {x}", _JENKINS_BANNER),
        _each(lambda t, x, i: f"{_hms(_elapsed(t))}  {x}"),
        _each(lambda t, x, i: f"{t:%I:%M:%S %p}  {x}", ["Started by timer", ""]),
    ),
    "GitHub Actions": (
        _each(_with_groups(lambda t: _iso(t, 6) [:-1] + "3Z"), _GITHUB_BANNER),
        _each(lambda t, x, i: f"attach\tRun tests\t{_iso(t, 6)[:-1]}3Z {x}"),
        _each(_with_groups(lambda t: f"{t:%Y-%m-%d %H:%M:%S}Z:", 90), [f"{_START:%Y-%m-%d %H:%M:%S}Z: Job started"]),
    ),
    "GitLab": (
        _each(lambda t, x, i: f"{_iso(t, 6)} 00O {x}",
              [f"{_iso(_START, 6)} 00O section_start:1762156800:step_script\r\x1b[0K\x1b[0KExecuting\x1b[0;m"]),
        _each(lambda t, x, i: f"{_iso(t, 6)} 01O {x[:40]}\n{_iso(t, 6)} 01O+{x[40:]}" if len(x) > 60
              else f"{_iso(t, 6)} 01E {x}"),
        _each(lambda t, x, i: f"{t:%H:%M:%S.%f} step_script> {x}"),
    ),
    "docker compose": (
        _merged(lambda t, s, x: f"{s + '-1':<12}  | {x}", ["Attaching to oai-cu-1, oai-du-1, oai-nr-ue-1"],
                ["oai-du-1 exited with code 0"]),
        _merged(lambda t, s, x: f"\x1b[{_COLOURS[s]}m{s + '-1':<18} |\x1b[0m {_iso(t, 9)} {x}"),
        _merged(lambda t, s, x: f"{s}_1 │ {x}", ["Creating network farm_default", "Creating farm_cu_1 ... done"]),
        _merged(lambda t, s, x: f"{t:%H:%M:%S} {s + '.1':<20} | {x}", ["08:00:00 system       | started with pid 4711"]),
    ),
    "docker json-file": (
        _each(_json_file),
        _partial(_log_record, 48),
        _each(lambda t, x, i: json.dumps({"@timestamp": _iso(t), "host": "gnb-3", "message": x, "level": "info", "n": i})),
        _each(lambda t, x, i: json.dumps({"ts": _elapsed(t), "kubernetes": {"pod": "gnb-0"}, "line": {"text": x}})),
    ),
    "logfmt": (
        _each(lambda t, x, i: f'time="{_iso(t)}" level=info msg={json.dumps(x)}'),
        _each(lambda t, x, i: f"ts={_iso(t)} caller=a.go:{i} msg={json.dumps(x)} n={i}"),
    ),
    "CRI": (
        _each(lambda t, x, i: f"{_iso(t, 9)} stdout F {x}"),
        _partial(lambda t, x, last: f"{_iso(t, 9, '+01:00')} stderr {'F' if last else 'P'} {x}", 64),
        _each(lambda t, x, i: f"{_iso(t, 6)} out F: {x}"),
    ),
    "syslog": (
        _each(lambda t, x, i: f"{t:%b} {t.day:2d} {t:%H:%M:%S} gnb-host-3 softmodem[4711]: {x}"),
        _each(lambda t, x, i: f'<134>1 {_iso(t, 6)} lab7 modem 471 - [meta@32473 seq="{i}" note="a \\"b\\" ]"] \ufeff{x}'),
        _merged(lambda t, s, x: f"{_iso(t, 6, '+00:00')} lab7 {s}[{len(s)}]: {x}",
                [f"{_iso(_START, 6, '+00:00')} lab7 systemd[1]: Started farm."]),
        _each(lambda t, x, i: f"{_iso(t, 0, '+0100').replace('.', '')} gnb docker/oai[99]: {x}"),
        _each(lambda t, x, i: f"<30>{t:%b} {t.day:2d} {t:%H:%M:%S} 10.0.0.7 local0.info softmodem: {x}"),
    ),
    "kubectl, stern": (
        _merged(lambda t, s, x: f"[pod/{s}-0/{s}] {_iso(t, 9)} {x}"),
        _merged(lambda t, s, x: f"{s}-7d9f8b6c5-x2x4q {s} {x}", ["+ oai-cu-7d9f8b6c5-x2x4q › oai-cu"]),
        _merged(lambda t, s, x: f"{s}-0 › {s} › {_iso(t)} {x}"),
        _merged(lambda t, s, x: f"({s}) {t:%H:%M:%S,%f} {x}"),
    ),
    "serial console": (
        _each(lambda t, x, i: f"[{_elapsed(t) + 12.345678:12.6f}] {x}"),
        _each(lambda t, x, i: f"[{_elapsed(t):.6f} 0.037000] {x}"),
        _each(lambda t, x, i: f"{t:%b %d %H:%M:%S} {x}"),
        _each(lambda t, x, i: f"[{t:%Y-%m-%d %H:%M:%S}] {x}", ["", "Welcome to minicom 2.8", "OPTIONS: I18n", ""]),
        _each(lambda t, x, i: f"ttyUSB0 +{_elapsed(t):09.3f}s| {x}"),
    ),
    "numbers, grep": (
        _each(lambda t, x, i: f"{i:6d}\t{x}"),
        _each(lambda t, x, i: f"{i}:{x}"),
        _merged(lambda t, s, x: f"{s}.log:{len(x) + 7}:{x}"),
        _each(lambda t, x, i: f"{i:05d}| {x}"),
    ),
    "pytest, Robot Framework, loggers": (
        _each(lambda t, x, i: f"INFO     root:bench.py:{12 + i % 3} {x}", ["---------- Captured log call ----------"]),
        _each(lambda t, x, i: f"{t:%Y%m%d %H:%M:%S}.{_ms(t)} - INFO - {x}",
              ["20251103 08:00:00.000 - INFO - +-- START SUITE: Attach [ ]"]),
        _each(lambda t, x, i: f"{t:%Y-%m-%d %H:%M:%S},{_ms(t)} - farm.console - DEBUG - {x}"),
        _each(lambda t, x, i: f"DEBUG:farm.console:{x}"),
        _each(lambda t, x, i: f"{t:%Y-%m-%d %H:%M:%S}.{_ms(t)} | INFO     | farm.console:pump:{88 + i % 2} - {x}"),
        _each(lambda t, x, i: f"{'WARN' if i % 7 == 0 else 'INFO'} {t:%H:%M:%S} [reader-{i % 3}] console: {x}"),
    ),
    "time stamps of the stack": (
        _each(lambda t, x, i: f"{t.timestamp():.6f} {x}"),
        _each(lambda t, x, i: f"[{t:%Y-%m-%d %H:%M:%S}.{t.microsecond:06d}] {x}"),
        _each(lambda t, x, i: f"[{i * 37}] {x}"),
        _each(lambda t, x, i: f"{int(t.timestamp() * 1e6)} {x}"),
        _each(lambda t, x, i: f"T+{_elapsed(t):.3f} {x}"),
    ),
    "colours": (
        _each(lambda t, x, i: f"\x1b[0m\x1b[32m{x}\x1b[0m"),
        _each(lambda t, x, i: f"\x1b]0;farm\x07\x1b[K\x1b[1;33m{x}\x1b[m"),
        _each(lambda t, x, i: f"^[[32m{x}^[[0m"),
        _each(lambda t, x, i: f"[0m[32m{x}[0m"),
    ),
    "indentation, tabs": (
        _each(lambda t, x, i: f"  {x}"),
        _each(lambda t, x, i: f"\t{x}"),
        _each(lambda t, x, i: x.expandtabs(8)),
        _each(lambda t, x, i: f"    {x}".expandtabs(4)),
    ),
    "own time stamps": (
        _stamps(_iso, " "),
        _stamps(lambda t: f"[{t:%H:%M:%S}.{_ms(t)}]", " "),
        _stamps(lambda t: f"{t.timestamp():.3f}:", "\t"),
        _stamps(lambda t: f"{t:%d.%m.%Y %H:%M:%S}", "  "),
        _stamps(lambda t: f"<{t:%y%j.%H%M%S}>", " "),
    ),
    "several": (
        _merged(lambda t, s, x: f"{_iso(t, 6)[:-1]}3Z \x1b[36m{s:<10} | \x1b[0m{x}", _GITHUB_BANNER),
        _merged(lambda t, s, x: _json_file(t, f"[{t:%H:%M:%S}] {s} | {x}", 0)),
        _each(lambda t, x, i: f"[{_iso(t)}] {t:%b} {t.day:2d} {t:%H:%M:%S} host app[1]: {_elapsed(t):.6f} {x}",
              _JENKINS_BANNER),
        _merged(lambda t, s, x: f"{t:%H:%M:%S}  node-4: <{s}> #{len(x)} {x}", _JENKINS_BANNER),
    ),
    "unknown prefixes": (
        _each(lambda t, x, i: f"rig7/{i % 4}#{i}~{_elapsed(t):.1f}~ {x}"),
        _each(lambda t, x, i: f"@{i:x}@ farm :: {x}"),
        _each(lambda t, x, i: f"{'rx' if i % 2 else 'tx'} {i * 0x9E3779B97F % (1 << 40):010x} >>> {x}"),
        _each(lambda t, x, i: f"lab-7;{t:%d.%m.%y};{t:%H:%M:%S};console;{x}"),
    ),
    "late or ending": (
        _each(lambda t, x, i: f"[{_iso(t)}] {x}", [f"+ pip install farm=={i}.0 --quiet (step {i})" for i in range(90)]),
        _merged(lambda t, s, x: f"{s}  | {x}", [f"#{i} pulling layer {i}" for i in range(40)],
                ["oai-du exited with code 1"] * 5),
        _each(lambda t, x, i: f"{_iso(t, 6)[:-1]}3Z {x}", [f"setup {i} of 300 done" for i in range(300)]),
    ),
}  # fmt: skip
"""Wrappers by name; the first form of each is the usual one."""
