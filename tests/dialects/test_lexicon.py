"""Words of 3GPP: what lines of no dialect say, and that lines of a dialect are read as before."""

import pytest

from stream_triage.dialects import LAYERS, Dialects, WithLexicon
from stream_triage.dialects.table import packaged_dialects
from stream_triage.stages.normalise import mask


@pytest.fixture(scope="module")
def dialects() -> WithLexicon:
    return WithLexicon()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("[x1] AttachReject sent, EMM cause 15", "registration refused"),
        ("zz.ra INFO RACH success? no: random access problem", "random access failed"),
        ("lib/rrc.c:77 rrc_setup_complete from ue=4", "connection completed"),
        ("ngap> NGSetupResponse", "ng set-up completed"),
        ("T310 of UE 4 has run out", "radio link failed"),
        ("WARN Cell not found on ARFCN 640000", "cell search failed"),
    ],
)
def test_events(dialects: WithLexicon, line: str, event: str) -> None:
    """Names of 3GPP are found however they are written."""
    signal = dialects.read(mask(line))
    assert signal is not None
    assert signal.event is not None
    assert (signal.heard, dialects.name(signal.event)) == (True, event)


@pytest.mark.parametrize(
    ("line", "layer"),
    [
        ("a PUSCH decoding error", "l1"),
        ("a RLC: SDU discarded", "l2"),
        ("a RRC: MAC config invalid", "rrc"),
        ("a 5GMM: T3560 expired", "nas"),
        ("a PFCP: no response from UPF", "core"),
    ],
)
def test_trouble_is_of_the_layer_that_is_named_first(dialects: WithLexicon, line: str, layer: str) -> None:
    """A line names the module that wrote it before it says what happened."""
    signal = dialects.read(mask(line))
    assert signal is not None
    assert (LAYERS[signal.layer], signal.trouble, signal.telling) == (layer, True, True)


@pytest.mark.parametrize("line", ["connection refused", "the session was lost", "unexpected end of file", "17 42 0.25", ""])
def test_words_of_everybody(dialects: WithLexicon, line: str) -> None:
    """What has no word of 3GPP is read as without the lexicon."""
    assert dialects.read(line) == Dialects().read(line)


def test_lines_of_dialects_are_read_as_before(dialects: WithLexicon) -> None:
    """The lexicon changes no event of any dialect's examples."""
    plain = Dialects()
    for table in packaged_dialects():
        for line in (line for raw, event in table.examples.items() if event for line in raw.split("\n")):
            masked = mask(line)
            before = plain.read(masked)
            after = dialects.read(masked)
            if before and before.event:
                assert after == before, line
