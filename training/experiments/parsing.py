"""Measures the accuracy of template mining on Loghub, with one setting for all systems, next to other template miners.

    python -m training.experiments.parsing --data FOLDER [--peers-python PATH]

Data: Loghub-2k with the corrected templates of Khan et al., "Guidelines for Assessing the Accuracy of Log Message Template
Identification Techniques" (ICSE 2022), 16 systems of 2,000 lines; and all lines of Linux and Proxifier of Loghub-2.0 (Jiang
et al., "A Large-Scale Evaluation for Log Parsing Techniques: How Far Are We?", ISSTA 2024). The latter two are an untouched
check: they are reported, and no setting is ever chosen by them.

Measures, all from 0 to 1:

- GA, grouping accuracy (Zhu et al., "Tools and Benchmarks for Automated Log Parsing", ICSE-SEIP 2019): share of the lines
  whose group of lines is exactly a true group.
- PA, parsing accuracy (Dai et al., "Logram", TSE 2020): share of the lines whose template text is the true one.
- FGA, FTA (Jiang et al.): F1 over groups and over templates, where each template counts once however many lines it has. A
  template is right if all its lines have the same true template and the texts agree (Khan et al.).

Texts are compared as is usual in this field: markers count as `<*>`, wildcards that touch or are joined by one of `.:/@#`
count as one, blanks collapse, and blanks beside punctuation do not count (Brain inserts some). The true templates are
treated in the same way.

Rare templates are the quarter of a system's true templates with the fewest lines. Their columns are recalls: the share that
is found as a group, and with the right text.
"""

import csv
import os
import platform
import re
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from stream_triage.stages.normalise import key_text, mask
from stream_triage.stages.template import DrainSettings, Templates
from training.arguments import add_out, command_parser
from training.experiments.parsing_peers import run_peer

RESULTS = Path(__file__).parents[1] / "results" / "parsing.md"
ARCHIVES = ("loghub_2k_corrected.tar.xz", "loghub2_full_small.tar.xz")
UNTOUCHED = ("Linux (full)", "Proxifier (full)")


@dataclass(frozen=True)
class System:
    """One log: `lines[i]` has the true template `true[i]`; `published` are the group ids before the correction."""

    name: str
    lines: list[str]
    true: list[str]
    published: list[str]


@dataclass(frozen=True)
class Scores:
    """All measures of one parser on one system; the module's docstring defines them."""

    ga: float
    pa: float
    fga: float
    fta: float
    rare_groups: float
    rare_templates: float
    ga_published: float
    seconds: float


Parser = Callable[[System], list[str]]
"""Returns the template of each line."""


# --- data -------------------------------------------------------------------------------------------------------------


def unpack(data: Path, into: Path) -> None:
    """Unpacks both archives into a folder; an archive that was unpacked before is skipped."""
    for name in ARCHIVES:
        if (into / name.partition(".")[0]).exists():
            continue
        with tarfile.open(data / "loghub" / name) as archive:
            archive.extractall(into, filter="data")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(file))


def read_systems(folder: Path) -> list[System]:
    """Reads the 16 small systems in the order of their names, then the full ones."""
    systems = []
    for path in sorted((folder / "loghub_2k_corrected").iterdir()):
        corrected = _rows(path / f"{path.name}_2k.log_structured_corrected.csv")
        published = _rows(path / f"{path.name}_2k.log_structured.csv")
        systems.append(_system(path.name, corrected, [row["EventId"] for row in published]))
    for name in UNTOUCHED:
        system = name.partition(" ")[0]
        rows = _rows(folder / "loghub2_full_small" / system / f"{system}_full.log_structured.csv")
        systems.append(_system(name, rows, [row["EventId"] for row in rows]))
    return systems


def _system(name: str, rows: list[dict[str, str]], published: list[str]) -> System:
    return System(name, [row["Content"] for row in rows], [row["EventTemplate"] for row in rows], published)


# --- measures ---------------------------------------------------------------------------------------------------------

_MARKER = re.compile(r"<(?!\*)[a-z_]+>")
_BLANKS_BESIDE = re.compile(r" ?([^\w\s<>*]) ?")
_JOINED = re.compile(r"<\*>(?:[.:/@#]?<\*>)+")


def comparable(template: str) -> str:
    """A template in the form that is compared: markers are wildcards, joined wildcards are one, blanks collapse."""
    text = " ".join(_MARKER.sub("<*>", template).split())
    return _JOINED.sub("<*>", _BLANKS_BESIDE.sub(r"\1", text))


def _groups(labels: Sequence[str]) -> dict[str, frozenset[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        members[label].append(position)
    return {label: frozenset(positions) for label, positions in members.items()}


def grouping_accuracy(parsed: Sequence[str], true: Sequence[str]) -> float:
    """GA: share of the lines in groups that are exactly a true group; the names of groups do not matter."""
    true_groups = set(_groups(true).values())
    return sum(len(group) for group in _groups(parsed).values() if group in true_groups) / len(true)


def _f1(right: int, parsed: int, true: int) -> float:
    return 2 * right / (parsed + true)


def measure(parsed: Sequence[str], system: System, seconds: float = 0.0) -> Scores:
    """All measures of parsed templates, one for each line of the system."""
    true = system.true
    parsed_groups, true_groups = _groups(parsed), _groups(true)
    true_sets = set(true_groups.values())
    right_groups = {group for group in parsed_groups.values() if group in true_sets}
    texts = {template: comparable(template) for template in {*parsed, *true}}
    right_templates = set()
    for template, group in parsed_groups.items():
        origins = {true[i] for i in group}
        if len(origins) == 1 and texts[template] == texts[next(iter(origins))]:
            right_templates |= origins
    rare = rare_templates(true)
    return Scores(
        ga=sum(map(len, right_groups)) / len(true),
        pa=sum(texts[p] == texts[t] for p, t in zip(parsed, true, strict=True)) / len(true),
        fga=_f1(len(right_groups), len(parsed_groups), len(true_groups)),
        fta=_f1(len(right_templates), len(parsed_groups), len(true_groups)),
        rare_groups=sum(true_groups[template] in right_groups for template in rare) / len(rare),
        rare_templates=sum(template in right_templates for template in rare) / len(rare),
        ga_published=grouping_accuracy(parsed, system.published),
        seconds=seconds,
    )


def rare_templates(true: Sequence[str]) -> list[str]:
    """The quarter of the templates with the fewest lines, at least one; ties are broken by the text."""
    counts = Counter(true)
    ordered = sorted(counts, key=lambda template: (counts[template], template))
    return ordered[: max(1, len(ordered) // 4)]


# --- parsers ----------------------------------------------------------------------------------------------------------


def ours(system: System, settings: DrainSettings | None = None) -> list[str]:
    """Does what training and serving do: masks, mines a template set, and matches every line with the frozen set."""
    keys = key_text(mask("\n".join(line.replace("\n", " ") for line in system.lines))).split("\n")
    mined = Templates.fit(keys, settings)
    return [mined.templates[position] for position in mined.match_many(keys)]


# --- the table --------------------------------------------------------------------------------------------------------

Results = dict[str, dict[str, Scores]]
"""Scores by parser, and in it by system."""


def _timed(parse: Parser, systems: Sequence[System]) -> dict[str, Scores]:
    scores = {}
    for system in systems:
        started = time.perf_counter()
        parsed = parse(system)
        scores[system.name] = measure(parsed, system, time.perf_counter() - started)
    return scores


def run(systems: Sequence[System], peers_python: Path | None) -> Results:
    """Runs every parser on every system; without `peers_python` the rows of logparser3 are left out."""
    results: Results = {
        "ours": _timed(ours, systems),
        "ours, codes as variables": _timed(lambda system: ours(system, DrainSettings(reason_values=0)), systems),
    }
    here = Path(sys.executable)
    peers = [("drain3, default settings", here, "drain3", False), ("drain3, its example masks", here, "drain3", True)]
    if peers_python is None:
        print("no --peers-python: the rows of logparser3 (Brain, Drain) are left out", file=sys.stderr)
    else:
        for name in ("Brain", "Drain"):
            peers.append((f"{name}, settings per system", peers_python, name, False))
            peers.append((f"{name}, one setting", peers_python, name, True))
    by_name = {system.name: system for system in systems}
    for row, python, name, generic in peers:
        answers = run_peer(python, name, generic=generic, systems={system.name: system.lines for system in systems})
        results[row] = {system: measure(parsed, by_name[system], taken) for system, (parsed, taken) in answers.items()}
    return results


_COLUMNS = {
    "ga": "GA",
    "pa": "PA",
    "fga": "FGA",
    "fta": "FTA",
    "rare_groups": "rare, groups",
    "rare_templates": "rare, texts",
    "ga_published": "GA, published ids",
    "seconds": "s",
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(scores: Sequence[Scores], field: str) -> str:
    return f"{sum(getattr(score, field) for score in scores) / len(scores):.3f}"


def report(results: Results) -> str:
    """The results as Markdown: means over the 16 systems, the untouched systems, ours by system, GA of all parsers."""
    chosen = [name for name in results["ours"] if name not in UNTOUCHED]
    heads = ["parser", *_COLUMNS.values()]
    means = [[parser, *(_mean([by[n] for n in chosen], f) for f in _COLUMNS)] for parser, by in results.items()]
    parts = [f"## Mean over {len(chosen)} systems of Loghub-2k\n", _table(heads, means)]
    for name in (name for name in UNTOUCHED if name in results["ours"]):
        rows = [[parser, *(_mean([by[name]], f) for f in _COLUMNS)] for parser, by in results.items()]
        parts += [f"\n## {name}, Loghub-2.0: untouched check\n", _table(heads, rows)]
    rows = [[name, *(_mean([results["ours"][name]], f) for f in _COLUMNS)] for name in chosen]
    parts += ["\n## Ours by system\n", _table(["system", *_COLUMNS.values()], rows)]
    rows = [[name, *(f"{by[name].ga:.3f}" for by in results.values())] for name in chosen]
    parts += ["\n## GA of each parser by system\n", _table(["system", *results], rows)]
    return "\n".join(parts) + "\n"


_NOTES = """\
# Template mining: measurements

Written by `python -m training.experiments.parsing`; the docstring of that module explains the measures, the data and how
texts are compared.

- "ours" is what serving uses, with one masking and one setting for every system: {settings}.
- The rules and settings were written with the errors on the 16 systems of Loghub-2k in view, so their mean is optimistic.
  The full systems were only looked at through this table; their lines include the 2,000 of the small ones.
- Ours keeps causes and return codes as words of a template, on purpose; the true templates have them as variables. "codes
  as variables" (`reason_values` 0) shows what this costs, most of all for OpenStack's HTTP status.
- "settings per system" are those that logparser3 publishes; Brain also chooses its separators by the system's name. "one
  setting" is similarity .5 and depth 4 (Drain) or threshold 4 (Brain), with IPv4 addresses, hex and decimal numbers masked.
- Published figures of Brain and Drain are on the published group ids, with settings per system.
- Limits of ours: a template has a fixed number of words, so lists, and paths with a varying number of blanks, are split
  into several templates (Thunderbird, Mac), and so are optional parts of more than one word (Android). If the lines of a
  template have only a few different names and no word tells that they are values (`for root`, `for admin`), they stay
  separate until a fifth name is seen.
- Seconds are of a single run on one core of a shared {machine} machine.

"""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command: prints the tables and writes them to a file."""
    parser = command_parser("training.experiments.parsing", __doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("STREAM_TRIAGE_DATA"),
        metavar="FOLDER",
        help="folder that contains loghub/ (default: the environment variable STREAM_TRIAGE_DATA)",
    )
    parser.add_argument(
        "--peers-python", type=Path, metavar="PATH", help="Python interpreter of an environment with logparser3"
    )
    add_out(parser, RESULTS, "Markdown file")
    options = parser.parse_args(argv)
    if options.data is None or not (options.data / "loghub").is_dir():
        parser.error("name the data folder (it holds loghub/) with --data or STREAM_TRIAGE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        unpack(options.data, Path(folder))
        results = run(read_systems(Path(folder)), options.peers_python)
    table = report(results)
    print(table)
    settings = ", ".join(f"{f.name} {getattr(DrainSettings(), f.name)}" for f in fields(DrainSettings))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(_NOTES.format(settings=settings, machine=platform.machine()) + table, encoding="utf-8")


if __name__ == "__main__":
    main()
