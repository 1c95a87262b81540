"""Examples of the packaged dialects: all of them hold, each event has one, and how a line is written does not matter."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.dialect_report import faults_of, summary_of
from stream_triage.dialects import Dialects, DialectTable
from stream_triage.stages.normalise import mask
from stream_triage.stages.redact import Redactor

DIALECTS = Dialects()
TABLES = [dialect.table for dialect in DIALECTS.dialects]
# One line each, which begins a record and is an event.
RECORDS = [
    (table, line, event)
    for table in TABLES
    for line, event in table.examples.items()
    if event and "\n" not in line and event not in table.plain
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_packaged_dialects_have_no_fault(table: DialectTable) -> None:
    """Every example gives its event, every phrase can match, no pattern is slow."""
    assert faults_of(DIALECTS, table).found == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_event_has_an_example(table: DialectTable) -> None:
    """An event that none of the examples gives may have no phrase that any line contains."""
    bodies = [event for body in table.bodies.values() for event in body]
    assert {*table.events, *table.commands, *table.plain, *bodies} - set(table.examples.values()) == set()
    assert "" in table.examples.values()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_entity_is_in_an_example(table: DialectTable) -> None:
    """Patterns for ids are searched in redacted lines, where an IMSI is a pseudonym or nothing that tells UEs apart."""
    redactor = Redactor(pseudonym_key=b"key")
    lines = [redactor.text(line) for line in table.examples]
    assert [pattern for pattern in table.entities if not any(re.search(pattern, line) for line in lines)] == []


def read(line: str) -> tuple[str, str]:
    """Dialect and event of a record."""
    signal = DIALECTS.read(mask(line))
    assert signal
    return DIALECTS.dialects[signal.dialect].table.name, DIALECTS.name(signal.event) if signal.event else ""


@given(st.sampled_from(RECORDS), st.data())
def test_case_of_the_message_does_not_matter(example: tuple[DialectTable, str, str], data: st.DataObject) -> None:
    """What a program says in capitals in one release, it may say in small letters in the next."""
    table, line, event = example
    begin = message_begins(table, line)
    change = data.draw(st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))
    message = re.sub(r"[A-Za-z]+(?![\w.])", lambda word: change(word[0]), line[begin:])
    assert read(line[:begin] + message) == (table.name, event)


@given(st.sampled_from(RECORDS), st.data())
def test_blanks_do_not_matter(example: tuple[DialectTable, str, str], data: st.DataObject) -> None:
    """Runs of blanks and tabs between the words of a message are as good as one blank."""
    table, line, event = example
    begin = message_begins(table, line)
    message = re.sub(" +", lambda _: data.draw(st.sampled_from([" ", "  ", "\t", " \t "])), line[begin:])
    assert read(line[:begin] + message) == (table.name, event)


@given(st.sampled_from(RECORDS), st.sampled_from(["", " ", "\t", "    "]))
def test_indentation_of_a_record_does_not_matter(example: tuple[DialectTable, str, str], indent: str) -> None:
    """A record stays one when a shell or a framework indents it."""
    table, line, event = example
    assert read(indent + line) == (table.name, event)


@given(
    st.sampled_from([example for example in RECORDS if re.search(r"UE Id: ?4", example[1])]),
    st.sampled_from(["UE Id:4", "UE Id: 4", "UE ID 4", "UeId:4", "UE_Id=4", "ue id : 4", "UE  Id:\t4"]),
)
def test_spelling_of_the_ue_id_does_not_matter(example: tuple[DialectTable, str, str], spelling: str) -> None:
    """Neither to the event nor to whose it is."""
    table, line, event = example
    changed = re.sub(r"UE Id: ?4", spelling, line)
    assert read(changed) == (table.name, event)
    single = " ".join(changed.split())  # as the follower reads it
    (pattern,) = DIALECTS.dialects[[one.name for one in TABLES].index(table.name)].entities
    match = pattern.search(single)
    assert match
    assert match["ue"] == "4"


def message_begins(table: DialectTable, line: str) -> int:
    """Where the words begin whose spelling is free: behind the module of a record."""
    begins = {
        "tm500": r"\S+ \S+\t(?:I: CMPI \w+|[CI]: [A-Z]+ 0x\w+ \w+|[A-Z]+|forw|I: \w+) ?",
        "oai": r"(?:\S+ )?\[\w+\](?: [A-Z] )?",
        "srsran": r".*?\[\w+(?:-\w+)*\s*\] \[[A-Z]\]",
        "open5gs": r".*?\] [A-Z]+:",
        "free5gc": r"\S+ (?:\[[^\]]*\])+",
        "ueransim": r"\[[^\]]*\] \[\w+\] \[\w+\]",
        "amarisoft": r"\S+ \[\w+\] \w\w \w{4}",
    }
    match = re.match(begins[table.name], line)
    return match.end() if match else 0


def test_messages_are_found() -> None:
    """The tests above change something: nearly all examples have words behind their module."""
    letters = [re.search("[A-Za-z]", line[message_begins(table, line) :]) for table, line, _ in RECORDS]
    begins = [message_begins(table, line) > 0 for table, line, _ in RECORDS]
    assert len(RECORDS) > 150
    assert sum(map(bool, letters)) == len(RECORDS)
    assert sum(begins) > 0.95 * len(RECORDS)


def test_summary_counts_what_a_dialect_has() -> None:
    table = DialectTable.model_validate(
        {"name": "x", "title": "X", "records": ["X:"], "events": {"session lost": ["a", "b"]}}
    )
    assert summary_of(table) == "1 event, 2 phrases, 0 examples"
