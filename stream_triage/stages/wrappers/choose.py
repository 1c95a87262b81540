"""The first lines of a source in, the wrappers that it has out.

Wrappers are tried in all orders, up to four inside each other. The choice is the one under which the bundle knows the most
lines; it must know clearly more of them than of the lines as they are. Lines that the bundle knows as they are decide at
once, so a source without a wrapper costs a look at its first lines and nothing more.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from stream_triage.stages.wrappers.formats import FORMATS, JSON_FORMAT, Format
from stream_triage.stages.wrappers.layers import (
    STAMP_FORMATS,
    Layer,
    fit_colours,
    fit_json,
    fit_logfmt,
    fit_pattern,
    indent_of,
    indentation,
    json_lead,
)
from stream_triage.stages.wrappers.layout import OWN_STAMP, Layout
from stream_triage.stages.wrappers.learn import Known, find_prefixes, prefix_pattern

__all__ = ["Judge", "choose"]

MOST_LAYERS: Final = 4
# The bundle knows a source as it is if it knows this share of its lines.
USUAL: Final = 0.5
# A wrapper comes off if the bundle knows this share of the lines more without it, and at least twice as many.
GAIN: Final = 0.25
# Of a known wrapper that nearly all lines have: it would be there for the lines of a newer release, too.
CLEAR_GAIN: Final = 0.1
# If it knows so many of a few of them, the others need no look.
_CLEARLY: Final = 0.75
# Lines on which a wrapper is tried; the choice is checked on all lines.
_SAMPLE: Final = 24
_FIRST_SAMPLE: Final = 8
_BEAM: Final = 8
# Share of the lines that must have a wrapper that is tried, and one that is certain.
_TRIED: Final = 0.3
_CERTAIN: Final = 0.9
_CERTAIN_FORMATS: Final = tuple(kind for kind in FORMATS if kind.certain)
_LEARNED: Final = Format("unknown prefix", "auto", "")
_FEW_LINES: Final = 3
_QUOTED: Final = ('="', ' {"', '\t{"', "#011")
# An indentation is taken off after so many lines that have it, or at the end of the source.
_INDENTED_LINES: Final = 12


@dataclass(frozen=True)
class Judge:
    """What the bundle says about lines.

    Attributes:
        known: Whether it knows each line.
        stamped: Whether its lines begin with a time stamp.
        tabbed: Whether a single tab or blank must follow that time stamp.
        vocabulary: Words of three letters and more in the lines that it knows; None if that is not known.
    """

    known: Known
    stamped: bool = False
    tabbed: bool = False
    vocabulary: frozenset[str] | None = None

    def count(self, lines: Sequence[str]) -> int:
        """How many of the lines the bundle knows."""
        return sum(self.known(lines))


class _Path(NamedTuple):
    """Layers that were tried, what they leave of the lines, and how many of these the bundle knows."""

    score: int
    layers: tuple[Layer, ...]
    bodies: list[str]
    stamp: Layer | None = None


def choose(
    lines: Sequence[str], judge: Judge, *, forced: str = "", first: bool = True, final: bool = False
) -> Layout | None:
    """The wrappers of lines with text; an empty layout if there are none; None if more lines are needed to tell.

    Args:
        lines: The first lines of a source, or later ones if nothing was certain before.
        judge: What the bundle knows.
        forced: Setting of the wrapper that comes off in any case.
        first: The first line of the source is among them. Only then can an indentation be told from a table or a dump.
        final: No more lines will come.
    """
    if not lines:
        return Layout() if final else None
    outer: tuple[Layer, ...] = ()
    if forced:
        layer, count = max(_of_setting(forced, lines), key=lambda item: item[1], default=(None, 0))
        if count < _FEW_LINES and not final:
            return None
        outer = (layer,) if layer else ()
    bodies = _read(Layout(outer), lines) if outer else list(lines)
    path = _Path(0, outer, bodies) if _usual(bodies, judge) else _search(outer, bodies, judge, first)
    if path is not None:
        return _adjusted(path, judge, final) if first else Layout(path.layers, path.stamp)
    certain = _certain(outer, bodies)
    if certain:
        return Layout(certain)
    return Layout(outer) if final or outer else None


def _usual(lines: Sequence[str], judge: Judge) -> bool:
    """Whether the bundle knows the lines as they are. A few of them tell, unless it knows some and not others."""
    sample = _sample(lines, _FIRST_SAMPLE)
    known = judge.count(sample)
    if known >= _CLEARLY * len(sample) or known <= (1 - _CLEARLY) * len(sample):
        return known >= _CLEARLY * len(sample)
    return judge.count(lines) >= USUAL * len(lines)


def _of_setting(setting: str, lines: Sequence[str]) -> list[tuple[Layer, int]]:
    if setting == JSON_FORMAT.setting:
        return fit_json(lines)[:1]
    return [fitted for kind in FORMATS if kind.setting == setting and (fitted := fit_pattern(kind, lines))]


def _adjusted(path: _Path, judge: Judge, final: bool) -> Layout | None:
    """With a constant indentation taken off, and blanks behind the bundle's own time stamps as it knows them.

    Where lines of the bundle begin with a time stamp, one of them must be among the indented lines: a table may have nothing
    but indented lines.
    """
    layers, stamp = path.layers, path.stamp
    texts = [body for body in path.bodies if body.strip()]
    if not indent_of(texts):
        texts = _without_banner(texts, judge)
    indent = indent_of(texts)
    if indent:
        if len(texts) < _INDENTED_LINES and not final:
            return None
        if not judge.stamped or any(_stamp([text[indent:]]) for text in texts):
            layers = (*layers, indentation(indent))
            texts = [text[indent:] for text in texts]
        elif not final:
            return None
    if stamp is None and judge.tabbed:
        own = _own_stamp(texts)
        if own and 2 * sum(1 for text in texts if _blanks_after(own, text) > 1) > _count(own, texts):
            stamp = own
    return Layout(layers, stamp)


def _without_banner(texts: list[str], judge: Judge) -> list[str]:
    """The lines behind the last one that is not indented, if the bundle knows nothing up to there: a collector wrote it."""
    last = max((i for i, text in enumerate(texts) if text[0] not in " \t"), default=-1)
    return texts if last + 1 == len(texts) or judge.count(texts[: last + 1]) else texts[last + 1 :]


def _blanks_after(layer: Layer, line: str) -> int:
    split = layer.split(line)
    return len(split.prefix) - len(split.prefix.rstrip(" \t")) if split else 0


def _stamp(lines: Sequence[str]) -> Layer | None:
    """The own time stamp that most of the lines have, with all the blanks behind it; lines without one do not matter."""
    fitted = [fit for kind in STAMP_FORMATS if (fit := fit_pattern(kind, lines, all_blanks=True))]
    return max(fitted, key=lambda item: item[1])[0] if fitted else None


def _own_stamp(bodies: Sequence[str]) -> Layer | None:
    layer = _stamp([body for body in bodies if body[:1].strip()])
    enough = layer and _count(layer, bodies) >= min(_FEW_LINES, len(bodies))
    return layer if enough else None


def _search(outer: tuple[Layer, ...], lines: Sequence[str], judge: Judge, first: bool) -> _Path | None:
    """The best way to unwrap the lines, if the bundle then knows clearly more of them."""
    own_stamp = OWN_STAMP if judge.stamped else None
    # Text in JSON or quotes, and tabs in logs of rsyslog, may be escaped, and colours may be anywhere: no prefix shows it.
    quoted = sum(1 for line in lines if line.startswith("{") or any(text in line for text in _QUOTED))
    elsewhere = 2 * quoted >= len(lines) or fit_colours(lines) is not None
    first_found = find_prefixes(_sample(lines, _FIRST_SAMPLE), judge.known, own_stamp, judge.vocabulary)
    if not first_found and not elsewhere:
        return None
    sample = _sample(lines, _SAMPLE)
    prefixes = find_prefixes(sample, judge.known, own_stamp, judge.vocabulary)
    if len(prefixes) < CLEAR_GAIN * len(sample) and not elsewhere:
        return None
    best = _beam(outer, lines, judge, first)
    if best is None or best.score < (len(prefixes) / len(sample)) * 0.8 * len(lines):
        learned = _learned(outer, lines, [found.prefix for found in prefixes if not found.stamp], judge, first, stamp=False)
        own = _learned(outer, lines, [found.prefix for found in prefixes if found.stamp], judge, first, stamp=True)
        behind = _json_behind(outer, lines, judge, first)
        best = max((path for path in (best, learned, own, behind) if path), key=lambda path: path.score, default=None)
    if best is None:
        return None
    base = judge.count(lines)
    outermost = best.layers[len(outer)] if len(best.layers) > len(outer) else None
    clear = outermost and outermost.kind is not _LEARNED and _count(outermost, lines) >= _CERTAIN * len(lines)
    needed = max((CLEAR_GAIN if clear else GAIN) * len(lines), min(_FEW_LINES, len(lines)))
    return best if best.score - base >= needed and best.score >= 2 * base else None


def _sample(lines: Sequence[str], size: int) -> list[str]:
    return list(lines[:: -(-len(lines) // size)])


def _beam(outer: tuple[Layer, ...], lines: Sequence[str], judge: Judge, first: bool) -> _Path | None:
    """The best of the known wrappers, up to `MOST_LAYERS` of them inside each other."""
    step = max(1, len(lines) // _SAMPLE)
    paths = [_Path(0, outer, list(lines))]
    best: _Path | None = None
    seen = {tuple(lines)}
    for _ in range(MOST_LAYERS):
        tried: list[_Path] = []
        for path in paths:
            for layer, count in _fitted(path.bodies, path.layers, first):
                if count < _TRIED * len(lines):
                    continue
                bodies = _read(Layout((layer,)), path.bodies)
                if (key := tuple(bodies)) not in seen:
                    seen.add(key)
                    tried.append(_scored(_Path(0, (*path.layers, layer), bodies), judge, step))
            if judge.stamped and (own := _own_stamp(path.bodies)):
                tried.append(_scored(path._replace(stamp=own), judge, step))
        if not tried:
            break
        tried.sort(key=lambda path: -path.score)
        if tried[0].score and (best is None or tried[0].score > best.score):
            best = tried[0]
        if best and best.score * step >= 0.8 * len(lines):
            break
        paths = [path for path in tried if path.stamp is None][:_BEAM]
    return best and best._replace(score=judge.count(_texts(best)))


def _scored(path: _Path, judge: Judge, step: int) -> _Path:
    return path._replace(score=judge.count(_texts(path._replace(bodies=path.bodies[::step]))))


def _texts(path: _Path) -> list[str]:
    """The bodies as models would read them."""
    return _read(Layout((), path.stamp), path.bodies) if path.stamp else path.bodies


def _read(layout: Layout, lines: Sequence[str]) -> list[str]:
    return [layout.read(line) for line in lines]


def _count(layer: Layer, lines: Sequence[str]) -> int:
    """How many of the lines have the wrapper."""
    return sum(1 for line in lines if layer.split(line))


def _fitted(
    bodies: Sequence[str], layers: Sequence[Layer], first: bool = True, formats: Sequence[Format] = FORMATS
) -> Iterator[tuple[Layer, int]]:
    """Every wrapper that some of the lines have; a format other than time stamps is used once."""
    used = {layer.kind.name for layer in layers if layer.kind.setting != STAMP_FORMATS[0].setting}
    texts = [body for body in bodies if body.strip()]
    if any(text.startswith("{") for text in texts):
        yield from fit_json(texts)
    if "logfmt" not in used and formats is FORMATS and (logfmt := fit_logfmt(texts)):
        yield logfmt
    for kind in formats:
        if kind.name not in used and (fitted := fit_pattern(kind, texts, late=not first)):
            yield fitted
    if first and (indent := indent_of(texts)):
        yield indentation(indent), len(texts)
    if "colours" not in used and (colours := fit_colours(texts)):
        yield colours


def _learned(
    outer: tuple[Layer, ...], lines: Sequence[str], prefixes: Sequence[str], judge: Judge, first: bool, *, stamp: bool
) -> _Path | None:
    """A prefix of no known format; with `stamp`, it is the source's own time stamp."""
    pattern = prefix_pattern(prefixes) if len(prefixes) >= _FEW_LINES else None
    if not pattern:
        return None
    kind = STAMP_FORMATS[0] if stamp else _LEARNED
    fitted = fit_pattern(kind, lines, stamp, re.compile(pattern), late=not first)
    if fitted is None:
        return None
    path = _Path(0, outer, list(lines), fitted[0])
    if not stamp:
        path = _Path(0, (*outer, fitted[0]), _read(Layout((fitted[0],)), lines))
    return path._replace(score=judge.count(_texts(path)))


def _json_behind(outer: tuple[Layer, ...], lines: Sequence[str], judge: Judge, first: bool) -> _Path | None:
    """Objects of JSON behind words that are no known wrapper, such as the tag of Fluentd."""
    lead = json_lead(lines)
    best: _Path | None = None
    for layer, count in fit_json(lines, lead) if lead else ():
        if count < _TRIED * len(lines):
            continue
        bodies = _read(Layout((layer,)), lines)
        plain = _Path(judge.count(bodies), (*outer, layer), bodies)
        more = _beam(plain.layers, bodies, judge, first) if plain.score < USUAL * len(lines) else None
        best = max((path for path in (best, plain, more) if path), key=lambda path: path.score)
    return best


def _certain(outer: tuple[Layer, ...], lines: Sequence[str]) -> tuple[Layer, ...]:
    """Wrappers that cannot be anything else, for lines that the bundle does not know in any case."""
    layers, bodies = outer, [line for line in lines if line.strip()]
    while len(layers) < MOST_LAYERS and len(bodies) >= _FEW_LINES:
        certain = [
            layer
            for layer, count in _fitted(bodies, layers, formats=_CERTAIN_FORMATS)
            if layer.kind.certain and count >= _CERTAIN * len(bodies) and layer not in layers
        ]
        if not certain:
            break
        layers = (*layers, certain[0])
        bodies = [body for body in _read(Layout((certain[0],)), bodies) if body.strip()]
    return layers if layers != outer else ()
