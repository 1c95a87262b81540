"""Lines of training runs: read as serving reads them, without what a collector put around them."""

import pytest

from training.data import LabelledRun, MaskedRuns
from training.lines import LineReader

BODIES = [
    *("#$$CONNECT", "C: CONNECT 0x00 ok", "RSET", "C: RSET 0x00 ok"),
    *(f"I: CMPI MTE 0 NR REGISTRATION IND:UE Id:{ue}" for ue in range(30)),
]
LOG = [f"07/03/24 10:00:{second:02d}:500\t{body}" for second, body in enumerate(BODIES)]


def text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.parametrize(
    "wrapper",
    [
        "2024-03-07T10:00:01.1234567Z {}",
        "Mar 07 10:00:01 bench tma[417]: {}",
        "[2024-03-07T10:00:01.123Z] {}",
        '{{"log":"{}\\n","stream":"stdout","time":"2024-03-07T10:00:01.123456789Z"}}',
        "\x1b[32m{}\x1b[0m",
    ],
)
def test_wrapped_runs_are_those_without_the_wrapper(wrapper: str) -> None:
    """Training must not learn what a CI runner or a collector adds, since serving takes it off."""
    log = [line.replace("\t", "\\t") for line in LOG] if wrapper.startswith("{{") else LOG
    wrapped = text([wrapper.format(line) for line in log])
    assert list(LineReader().lines({"du": wrapped}).values()) == [LOG]
    runs = [LabelledRun("plain", "Pass", {"": text(LOG)}), LabelledRun("wrapped", "Pass", {"": wrapped})]
    masked = MaskedRuns(runs)
    assert masked.runs[0][""].tolist() == masked.runs[1][""].tolist()


def test_services_of_one_source_are_sources() -> None:
    """As in serving: `SOURCE/SERVICE`, each with its own lines; the source itself has none left."""
    log = [f"{name:<7} | {line}" for line in LOG for name in ("tester", "other")]
    lines = LineReader().lines({"compose": text(log)})
    assert lines == {"compose": [], "compose/tester": LOG, "compose/other": LOG}


def test_other_logs_stay_as_they_are() -> None:
    """Where no dialect knows the lines, nothing says that their beginning is a wrapper."""
    log = [f"2024-03-07 10:00:{second:02d},123 INFO worker-{second % 3}: item {second} done" for second in range(60)]
    assert LineReader().lines({"": text(log)}) == {"": log}
