"""Wrappers: what collectors put around lines comes off exactly, whatever the wrapper, and nothing else does."""

import doctest
import json
import random
import re
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.wrapped import WRAPPERS, Run
from stream_triage import escapes
from stream_triage.settings import InputSettings
from stream_triage.stages.wrappers import FORMAT_NAMES, OTHER_SERVICES, Judge, Unwrapper
from stream_triage.stages.wrappers.formats import FORMATS

LOG = [
    "[APP]   radio unit starting, revision 7",
    "[PHY]   sync source internal",
    "    sub carrier spacing 30 kHz",
    "[MAC]   scheduler ready: 4 slots",
    "UE 17: attach requested (cause 3)",
    "",
    "[RRC]   setup complete for UE 17",
    "    bearer 5 active, bearer 6 idle",
]
KNOWN = re.compile(
    r"\[(?:APP|PHY|MAC|RRC)\]   \w+ \w+.*| *sub carrier spacing \d+ kHz| *bearer \d+ active.*|UE \d+: attach requested.*"
)
STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\t(?:CMD \w+|OK \w+ \d+)| {4}row \d+ of table")
JUDGE = Judge(lambda lines: [KNOWN.fullmatch(line) is not None for line in lines])
SOURCES: Run = {"cu": LOG * 8, "du": LOG[2:] * 9, "ue": LOG[1:] * 7}


def taken(lines: Sequence[str], judge: Judge = JUDGE, format_: str = "auto") -> tuple[dict[str, list[str]], Unwrapper]:
    """What models read of these lines, by service."""
    unwrapper, services = Unwrapper(judge, format_), {}
    for batch in unwrapper.take(list(lines), final=True):
        services.setdefault(batch.service, []).extend(batch.read(batch.bodies))
    return services, unwrapper


def lines_of(data: bytes) -> list[str]:
    return re.split(r"\r\n|\r|\n", data.decode())[:-1]


def test_examples() -> None:
    assert doctest.testmod(escapes).failed == 0


def test_the_setting_names_all_formats() -> None:
    """Whoever adds a format adds its name to the setting."""
    assert InputSettings.model_fields["format"].annotation.__args__ == FORMAT_NAMES


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name not in ("own time stamps", "indentation, tabs")])
def test_bodies_come_back_as_they_were(name: str) -> None:
    """Wrapping and unwrapping gives the lines of each source again, blanks included, under every form of a wrapper."""
    for wrap in WRAPPERS[name]:
        wrapped = wrap(SOURCES, random.Random(1))
        if wrapped.positions:
            services, _ = taken(lines_of(wrapped.sources[""]))
            for source, lines in SOURCES.items():
                if len(services) == 1:
                    got = [services[""][position - 1] for position in wrapped.positions[source]]
                else:
                    got = next(bodies for service, bodies in services.items() if source in service)
                assert [body.rstrip() for body in got] == [line.rstrip() for line in lines]
            continue
        for source, lines in SOURCES.items():
            services, unwrapper = taken(lines_of(wrapped.sources[source]))
            got = [services[""][number - 1] for number in wrapped.numbers[source]]
            assert [body.rstrip() for body in got] == [line.rstrip() for line in lines], unwrapper.stripped


@pytest.mark.parametrize("indent", ["  ", "\t", "        "])
def test_a_constant_indentation_comes_off(indent: str) -> None:
    services, unwrapper = taken([indent + line for line in LOG * 4])
    assert services == {"": LOG * 4}
    assert unwrapper.stripped == "indentation"


def test_an_indented_table_is_no_indentation() -> None:
    """A log that begins inside a table has indented lines only; where records begin with a time, one must be among them."""
    judge = Judge(lambda lines: [STAMPED.fullmatch(line) is not None for line in lines], stamped=True)
    lines = [f"    row {i} of table" for i in range(40)] + [f"2026-11-29 10:00:00.{i:03d}\tCMD go" for i in range(40)]
    services, unwrapper = taken(lines, judge)
    assert services == {"": lines}
    assert not unwrapper.stripped


@pytest.mark.parametrize(
    ("stamp", "clock"),
    [
        ("10:00:00.5 ", "10:00:00.500"),
        ("[29.11.26 10:00:00]  ", "10:00:00.000"),
        ("1764410400.123: ", "10:00:00.123"),
        ("<26333.100000> ", "07:18:53.100"),
        ("+00012s | ", "00:00:12.000"),
        ("20261129T100001.25Z ", "10:00:01.000"),
    ],
)
def test_own_stamps_of_another_format_are_read_as_the_bundle_has_them(stamp: str, clock: str) -> None:
    """A stamp of another format is read in the bundle's own format, with the same time of day: UEs are judged by it."""
    judge = Judge(lambda lines: [STAMPED.fullmatch(line) is not None for line in lines], stamped=True)
    bodies = ["CMD reset", "OK reset 0", "CMD start", "    row 1 of table", "OK start 17", "    row 2 of table"] * 4
    lines = [body if body.startswith(" ") else stamp + body for body in bodies]
    services, unwrapper = taken(lines, judge)
    own = f"2000-01-01 {clock}\t"
    assert services == {"": [body if body.startswith(" ") else own + body for body in bodies]}
    assert unwrapper.stripped == "own time stamps"


@pytest.mark.parametrize("wrapper", ["10:00:00  {}", "app[7]: {}", '{{"x": "{}"}}', "[app] {}", "  {}"])
def test_lines_that_the_bundle_knows_are_never_changed(wrapper: str) -> None:
    """A bundle may be trained on wrapped logs: what it knows stays, whatever it looks like."""
    lines = [wrapper.format(line.strip()) for line in LOG * 20 if line]
    known = set(lines)
    judge = Judge(lambda some: [line in known for line in some])
    services, unwrapper = taken(lines, judge)
    if wrapper != "  {}":  # an indentation cannot be told by what a bundle knows
        assert (services, unwrapper.stripped) == ({"": lines}, "")


def test_a_foreign_log_with_stamps_stays() -> None:
    """Lines that the bundle knows neither with nor without their time stamps are not taken apart."""
    lines = [f"2026-11-29 10:00:{i % 60:02d},123 INFO dfs.DataNode: block blk_{i} of size {i * 7}" for i in range(500)]
    services, unwrapper = taken(lines)
    assert (services, unwrapper.stripped, unwrapper.problems) == ({"": lines}, "", [])


def test_docker_comes_off_even_if_the_bundle_knows_nothing() -> None:
    """What cannot be anything else is taken off in any case, for people and rules."""
    lines = [json.dumps({"log": f"zzz {i}\n", "stream": "stdout", "time": "2026-11-29T10:00:00Z"}) for i in range(50)]
    services, unwrapper = taken(lines)
    assert services == {"": [f"zzz {i}" for i in range(50)]}
    assert unwrapper.stripped == "docker json-file"


def test_a_log_of_which_the_bundle_knows_little() -> None:
    """One known line in five is enough to see what a wrapper hides: another release has other lines."""
    lines = [LOG[0] if i % 5 == 0 else f"[NEW]   of release {i % 3}: zzz" for i in range(200)]
    services, unwrapper = taken([f"Nov 29 10:00:00 host app[1]: {line}" for line in lines])
    assert (services, unwrapper.stripped) == ({"": lines}, "syslog")


def test_ids_are_no_services() -> None:
    """A prefix that differs on every line does not divide a source."""
    lines = [f"[{i * 0x9E3779B97F % (1 << 40):010x}] {line}" for i, line in enumerate(LOG * 9, 1)]
    assert taken(lines)[0] == {"": LOG * 9}


def test_nothing_comes_off_if_it_is_switched_off() -> None:
    lines = [f"gnb-1  | \x1b[32m{line}\x1b[0m" for line in LOG * 9]
    assert taken(lines, format_="none")[0] == {"": lines}


@pytest.mark.parametrize("name", [name for name in FORMAT_NAMES if name not in ("auto", "none")])
def test_each_setting_can_be_given(name: str) -> None:
    """A wrapper that is set comes off although the bundle knows none of the lines."""
    prefixes = {"docker-json": "", "cri": "2026-11-29T10:00:00Z stdout F ", "gitlab": "2026-11-29T10:00:00.000000Z 00O ",
                "github-actions": "2026-11-29T10:00:00.0000000Z ", "syslog": "Nov  9 10:00:00 host app[1]: ",
                "kubectl": "[pod/a-1/b] ", "compose": "gnb | ", "stern": "gnb-1 gnb ", "jenkins": "[2026-11-29T10:00:00Z] ",
                "timestamps": "10:00:00.1 ", "pytest": "INFO     root:a.py:1 ", "robot": "20261129 10:00:00.1 - INFO - ",
                "logger": "INFO:root:", "line-numbers": "  17\t", "grep": "17:", "services": "gnb> ",
                "pids": "[17] "}  # fmt: skip
    lines = [prefixes[name] + f"zzz {'x' * (i % 7)}" for i in range(20)]
    if name == "docker-json":
        lines = [json.dumps({"log": line + "\n"}) for line in lines]
    (bodies,) = taken(lines, Judge(lambda some: [False] * len(some)), name)[0].values()
    assert bodies == [f"zzz {'x' * (i % 7)}" for i in range(20)]


def test_the_end_of_a_wrapper_is_said() -> None:
    """Lines pass unchanged where the wrapper ends, and after many of them the verdict says so."""
    plain = [f"cleaning workspace {i}" for i in range(200)]
    services, unwrapper = taken([f"12:00:{i % 60:02d}.5 {line}" for i, line in enumerate(LOG * 20)] + plain)
    assert services[""] == LOG * 20 + plain
    (problem,) = unwrapper.problems
    assert "no longer have the prefix of time stamps" in problem


@pytest.mark.parametrize("banner", [3, 40, 300, 5000])
def test_a_wrapped_part_that_begins_late(banner: int) -> None:
    """A banner does not hide the wrapper behind it; after a very long one, some lines pass before it is recognised."""
    before = [f"+ fetching layer {i}" for i in range(banner)]
    services, unwrapper = taken(before + [f"[12:00:{i % 60:02d}] {line}" for i, line in enumerate(LOG * 200)])
    assert unwrapper.stripped == "time stamps"
    late = 0 if banner < 1000 else 64 * 20
    assert services[""][banner + late :] == (LOG * 200)[late:]
    if banner < 1000:
        assert services[""][:banner] == [""] * banner, "a banner of the collector is not read"


def test_services_are_bounded() -> None:
    """Services beyond the limit share a source, and the verdict says so."""
    lines = [f"[pod/ue-{i}/ue] {line}" for i in range(100) for line in LOG]
    services, unwrapper = taken(lines)
    assert len(services) == 65
    assert len(services[OTHER_SERVICES]) == 36 * len(LOG)
    assert "more than 64 services" in unwrapper.problems[0]


def test_partial_lines_are_joined_at_their_first_number() -> None:
    """The joined line takes the place of its first piece, the others stay as lines without text."""
    pieces = [("P", "[APP]   radio unit "), ("P", "starting, "), ("F", "revision 7"), ("F", "[PHY]   sync source internal")]
    lines = [f"2026-11-29T10:00:00.1Z stdout {tag} {text}" for tag, text in pieces * 10]
    services, _ = taken(lines)
    assert services[""] == ["[APP]   radio unit starting, revision 7", "", "", "[PHY]   sync source internal"] * 10


def test_a_partial_line_without_an_end_goes_on_as_it_is() -> None:
    """A runtime that crashed leaves a partial line: neither memory nor later lines depend on its end."""
    lines = [f"2026-11-29T10:00:00.1Z stdout {'F' if i < 30 else 'P'} {LOG[0]}" for i in range(2000)]
    services, _ = taken(lines)
    assert len(services[""]) == 2000
    assert max(map(len, services[""])) <= 66_000


def test_marks_of_a_ci_system_are_not_read() -> None:
    stamp = "2026-11-29T10:00:00.1234567Z "
    lines = [stamp + text for text in ["##[group]Run tests", *LOG, "##[endgroup]"] * 4]
    assert taken(lines)[0][""] == ["", *LOG, ""] * 4


WRAPPED = [
    [f"gnb-{i % 3}  | {line}" for i, line in enumerate(LOG * 12)],
    ["Started by user"] * 5 + [f"[2026-11-29T10:00:00.{i:03d}Z] {line}" for i, line in enumerate(LOG * 12)] + ["end"] * 90,
    [json.dumps({"log": line[:9] + ("\n" if i % 2 else ""), "stream": "o", "time": "t"}) for i, line in enumerate(LOG * 9)],
    [f"2026-11-29T10:00:00.000000Z 00O{'+' if i % 5 == 4 else ' '}{line}" for i, line in enumerate(LOG * 9)],
]


@given(st.sampled_from(WRAPPED), st.lists(st.integers(0, 200), max_size=12))
@settings(max_examples=150)
def test_cutting_changes_nothing(lines: list[str], cuts: list[int]) -> None:
    """The decision and its result depend on the lines alone, not on how many come at once."""
    whole, unwrapper = taken(lines)
    pieces, other, services = sorted({0, *(min(cut, len(lines)) for cut in cuts), len(lines)}), Unwrapper(JUDGE), {}
    for start, end in pairwise(pieces):
        for batch in other.take(lines[start:end]):
            services.setdefault(batch.service, []).extend(batch.read(batch.bodies))
    for batch in other.take([], final=True):
        services.setdefault(batch.service, []).extend(batch.read(batch.bodies))
    assert (services, other.stripped, other.problems) == (whole, unwrapper.stripped, unwrapper.problems)


TEXT = st.text(st.characters(exclude_characters="\n\r"), max_size=60) | st.sampled_from(
    [
        '{"log": 1}',
        "{" * 40,
        '{"log":"\\ud800\\n"}',
        "[" * 300,
        "\x1b[",
        "\x1b]0;",
        "- - -",
        "1 2026-11-29T10:00:00Z a b c d [",
        "  ",
    ]
)


@given(st.lists(TEXT | st.builds("{}{}".format, st.sampled_from(["10:00:00 ", "a | ", "[pod/a/b] "]), TEXT), max_size=90))
@settings(max_examples=200)
def test_any_text_passes(lines: list[str]) -> None:
    """No line is lost, whatever comes."""
    knows_some = Judge(lambda some: [len(line) % 2 == 0 for line in some], stamped=True, tabbed=True)
    for judge in (JUDGE, knows_some):
        services, _ = taken(lines, judge)
        assert sum(map(len, services.values())) == len(lines)


HOSTILE = [
    "[" * 60_000,
    '{"a":' * 10_000 + "1" + "}" * 10_000,
    '{"log":"' + "\\u0041" * 10_000 + '"}',
    json.dumps({f"k{i}": "v" * 9 for i in range(5000)}),
    "a" * 65_000,
    "1 2026-11-29T10:00:00Z a b c d " + '[x y="' * 9_000,
    "a." * 30_000,
    "INFO:" * 13_000,
    " " * 65_000,
    "\x1b[" * 30_000,
    "\x1b]" * 30_000,
    "10:00:00 " * 7_000,
    "-" * 65_000,
    "1" * 65_000,
    "[0m" * 20_000,
    'a="b" ' * 10_000,
    'msg="' + "\\" * 60_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line[:8])
def test_hostile_lines_take_linear_time(line: str) -> None:
    """Lines made to be slow cost no more than a few milliseconds each."""
    began = time.process_time()
    taken([line] * 40 + [f"10:00:00 {line}"] * 40)
    assert time.process_time() - began < 8


def test_patterns_have_a_bound() -> None:
    """A prefix is looked for at the beginning of a line: no pattern matches without end."""
    for kind in FORMATS:
        match = re.compile(kind.pattern, re.ASCII).match("a" * 100_000)
        assert match is None or match.end() < 1000


BANNER = ["Collecting the log of a rack", "Image is version 22", "Shell is bash", "Runner was started"]


def test_an_indentation_inside_a_wrapper_behind_a_banner() -> None:
    """Lines of the collector are not indented, and those of the program still lose their indentation."""
    stamp = "2026-03-09T08:59:51.1234567Z "
    lines = [stamp + line for line in BANNER] + [f"{stamp}  {line}" for line in LOG * 8]
    services, unwrapper = taken(lines)
    assert services[""][len(BANNER) :] == LOG * 8
    assert unwrapper.stripped == "GitHub Actions + indentation"


def test_a_banner_with_a_line_that_looks_like_the_prefix() -> None:
    """The whole banner is left out, although some of its lines look as if a logger wrote them."""
    banner = [
        "rootdir: /lab",
        "test_attach.py F",
        *BANNER,
        "E       assert 1 == 0",
        "test_attach.py:12: AssertionError",
        "----",
    ]
    services, _ = taken(banner + [f"INFO     runner:runner.py:112 {line}" for line in LOG * 8])
    assert services[""] == [""] * len(banner) + LOG * 8


@pytest.mark.parametrize("levels", [["INFO"], ["INFO ", "ERROR"], ["INFO    ", "WARNING "]])
def test_levels_of_one_width_keep_the_indentation_of_the_text(levels: list[str]) -> None:
    """Blanks that pad a level belong to it, and those of the text stay, such as those of the rows of a table."""
    lines = [f"2026-03-09 08:59:51,123 {levels[(i % 7 == 3 and -1) or 0]} {line}" for i, line in enumerate(LOG * 8)]
    services, _ = taken(lines)
    assert [line for line in services[""] if line] == [line for line in LOG * 8 if line]


def test_tabs_that_rsyslog_wrote_as_their_code_come_back() -> None:
    """Rsyslog escapes the control characters that it receives."""
    judge = Judge(lambda lines: [STAMPED.fullmatch(line) is not None for line in lines], stamped=True, tabbed=True)
    log = [f"2026-01-02 03:04:{i:02}.678\tCMD ALPHA" for i in range(40)]
    lines = ["Mar  9 08:59:51 pc3 tester[4]: " + line.replace("\t", "#011") for line in log]
    assert taken(lines, judge)[0][""] == log


@pytest.mark.parametrize("lead", ["2026-03-09T08:59:51+00:00\tlab.rack\t", "rack7 "])
def test_json_behind_words(lead: str) -> None:
    """Fluentd writes a time and a tag before its JSON."""
    lines = [lead + json.dumps({"stream": "out", "log": line}) for line in LOG * 8]
    services, unwrapper = taken(lines)
    assert services[""] == LOG * 8
    shown = [prefix + body for prefix, body in zip([lead] * len(LOG), LOG, strict=True)]
    assert [unwrapper.shown_body(line) for line in shown] == LOG


def test_a_prefix_with_many_parts() -> None:
    """Three wrappers inside each other are found although the text begins behind more than twenty separators."""
    lead = "[2026-03-09T08:59:51.123Z] 2026-03-09 08:59:51,123 - lab.rack - INFO - "
    assert taken([lead + line for line in LOG * 8])[0][""] == LOG * 8


def test_logs_that_gh_prints() -> None:
    """`gh run view --log` puts job and step before each line, and the first one has a byte order mark."""
    lines = [f"attach (rack 3)\tRun it\t2026-03-09T08:59:51.1234567Z {line}" for line in LOG * 8]
    lines[0] = lines[0].replace("\t2026", "\t\ufeff2026")
    assert taken(lines)[0][""] == LOG * 8


@pytest.mark.parametrize("mark", [":", "W:", "i:", " :", " W:"])
def test_logs_of_teamcity(mark: str) -> None:
    """TeamCity puts time, kind and step before each line."""
    assert taken([f"[08:59:51]{mark}\t [Step 1/3] {line}" for line in LOG * 8])[0][""] == LOG * 8
