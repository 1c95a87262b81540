"""The tester's grammar through the stages: no line is missing, codes stay, blocks stay together."""

import re
from itertools import pairwise, takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage import Triage
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.normalise import MASKING_VERSION, key_text, mask
from stream_triage.stages.redact import Redactor
from stream_triage.stages.template import Templates
from tests.corpus import tiny_bundle

# Own lines in the grammar: stamped records, unstamped continuation lines, tables, answers with codes.
INVENTED = """\
25/11/24 23:40:43:763	I: CMPI MTE 0 NR REGISTRATION IND:UE Id:7
  Selected PLMN: 00101F
  Registration Result: 3GPP Access Only
25/11/24 23:40:44:100	forw mte MtsConfigUeGroup 0 0 1{0-31}
25/11/24 23:40:44:121	C: FORW 0x04 Resource_Unavailable MTE MTSCONFIGUEGROUP RETURN CODE:4 FAILED  - Not licensed for User
25/11/24 23:40:45:000	I: CMPI RRC RRC Connection Re-establishment Started: UE Id: 7
   Cause: RLC maximum UL retransmissions reached
25/11/24 23:40:46:000	I: ERNO 0x00000000 CASS 0x00000008 NR_L1.DL: "late by 3 slots" at line 12 of ../l1/code/dl.c
25/11/24 23:40:47:000	[RX_LATE_C_DL]: 520
25/11/24 23:40:48:000	C: SCFG 0x06 Failure - Master Initialise failed."""
CODES = re.compile(r"0x0[0-9](?= [A-Z])|RETURN CODE:\d+|(?<!\w)[A-Z]+\d{3}\b|#\d+")


@pytest.fixture(params=["invented", "quoted"])
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Own lines, and those that the collection of public evidence quotes, where it lies beside the data folder."""
    if request.param == "invented":
        return INVENTED.split("\n")
    document: Path = request.getfixturevalue("data_folder").parent / "docs" / "tm500-syntax.md"
    if not document.is_file():
        pytest.skip("docs/tm500-syntax.md does not lie beside the data folder")
    blocks = re.findall(r"```\n(.*?)```", document.read_text(), re.DOTALL)
    quoted = [line for block in blocks for line in block.rstrip("\n").split("\n")]
    assert len(quoted) > 25
    return quoted


def redacted(lines: list[str]) -> list[str]:
    redactor = Redactor()
    return redactor.lines("\n".join(lines), redactor.start()).split("\n")


def test_no_line_is_lost(lines: list[str]) -> None:
    """Bytes cut anywhere give the same lines, and masking as many; each line matches a template that was mined from it."""

    @given(st.lists(st.integers(0, 4000), max_size=6).map(sorted))
    def cut_anywhere(positions: list[int]) -> None:
        data, cutter = "\r\n".join(lines), LineCutter(65_536)
        cut = [0, *(min(position, len(data)) for position in positions), len(data)]
        assert [line for a, b in pairwise(cut) for line in cutter.feed(data[a:b])] + cutter.finish() == lines

    cut_anywhere()
    masked = mask("\n".join(redacted(lines))).split("\n")
    assert len(masked) == len(lines)
    keys = [key_text(line) for line in masked]
    templates = Templates.fit(sorted(set(keys)), masking_version=MASKING_VERSION)
    assert all(templates.match(key) >= 0 for key in keys)


def test_codes_stay_and_numbers_become_magnitudes(lines: list[str]) -> None:
    """Answer, return and cause codes and names with digits are what triage is about; times and addresses are not."""
    for line, masked in zip(lines, mask("\n".join(redacted(lines))).split("\n"), strict=True):
        assert CODES.findall(masked) == CODES.findall(line)
        if re.match(r"\d\d/\d\d/\d\d ", line):
            assert masked.startswith("<time> ")


def test_a_block_stays_together(lines: list[str]) -> None:
    """What is worth reading of a run shows the lines that continue a record, or the record they continue, beside it."""
    session = Triage(tiny_bundle()).session("run")
    session.feed("\r\n".join(lines).encode())
    verdict = session.close()
    shown = {line.number for line in verdict.reduction}
    marked = {line.number for line in verdict.reduction if line.why not in ("context", "template", "rare")}
    assert marked
    for number in marked:
        # Lines are counted from 1, so `lines[number]` is the one after it.
        continuations = takewhile(lambda line: line.startswith(" "), lines[number:])
        assert {number, *(number + 1 + i for i, _ in enumerate(continuations))} <= shown
