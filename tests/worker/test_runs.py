"""Messages of a partition in; chunks, ends of runs and dead letters out."""

import json

import pytest

from stream_triage.records import Chunk, ClosedRun, DeadLetter, Problem, Record, RunEnd
from stream_triage.worker import messages, sequence
from stream_triage.worker.runs import Item, PartitionRuns, RunRules

YEAR_2026 = 1_767_225_600_000


class Partition:
    """Feeds a `PartitionRuns` as a topic does: offsets count up, the clock moves when a test says so."""

    def __init__(self, closed: list[ClosedRun] | None = None, first: int = 0, **rules: object) -> None:
        self.runs = PartitionRuns(RunRules(**rules), closed or [])
        self.offset = first
        self.now = 0.0

    def put(
        self, key: str | bytes | None, value: bytes | None = b"x\n", timestamp_ms: int = YEAR_2026, **headers: str
    ) -> list[Item]:
        raw = key.encode() if isinstance(key, str) else key
        pairs = tuple((name.replace("_", "."), text.encode()) for name, text in headers.items())
        record = Record("logs", 0, self.offset, timestamp_ms, raw, value, pairs)
        self.offset += 1
        return self.runs.take(record, self.now)

    def silence(self, seconds: float) -> list[Item]:
        """Time passes, and nothing is waiting in the topic."""
        self.now += seconds
        self.runs.read_up_to(self.offset, self.now)
        return self.runs.idle(self.now)


def text(items: list[Item], run_id: str | None = None) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk) and run_id in (None, item.run_id))


def ended(items: list[Item]) -> list[str]:
    return [item.run_id for item in items if isinstance(item, RunEnd)]


def closed(items: list[Item]) -> list[ClosedRun]:
    return [item for item in items if isinstance(item, ClosedRun)]


def rejected(items: list[Item]) -> list[str]:
    return [item.reason for item in items if isinstance(item, DeadLetter)]


def problems(items: list[Item]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Problem)]


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_a_message_is_whole_lines_in_its_encoding(self, encoding: str):
        """The line end that a message lacks is added in the encoding of the message, and never twice."""
        topic = Partition()
        items = [item for line in ("one line", "two\n", "three") for item in topic.put("a", line.encode(encoding))]
        assert text(items) == "one line\ntwo\nthree".encode(encoding)

    def test_chunks_of_a_file_in_utf16(self):
        """A shipper cuts after the byte of a line end, which may be half of it; nothing comes between."""
        topic, data = Partition(), "one line\ntwo\nthree\n".encode("utf-16-le")
        cuts = [i + 1 for i, byte in enumerate(data) if byte == 10]
        items = [item for a, b in zip([0, *cuts], [*cuts, None], strict=True) for item in topic.put("a", data[a:b])]
        assert text(items) == data

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
    def test_patterns_match_text(self, encoding: str):
        """Lines that end a run are recognised in any encoding."""
        topic = Partition(end_pattern="^TEST END$")
        items = topic.put("a", "first line\r\nTEST END\r\n".encode(encoding))
        assert ended(items) == ["a"]
        assert text(items) == "first line\r\nTEST END\r\n".encode(encoding)

    def test_patterns_in_an_encoding_that_is_set(self):
        topic = Partition(end_pattern="测试结束", encoding="gbk")
        assert ended(topic.put("a", "测试结束\n".encode("gbk"))) == ["a"]


class TestBoundaries:
    def test_ends_when_all_seen_sources_ended(self):
        """Each source ends by itself, with text or without; the record of the end comes before the end."""
        topic = Partition()
        topic.put("a", source="ue")
        topic.put("a", source="du")
        assert ended(topic.put("a", b"", source="ue", end="1")) == []
        items = topic.put("a", b"last\n", source="du", end="1")
        assert items == [
            Chunk("a", b"last\n", "du", {}),
            ClosedRun("a", "a", 0, 3),
            RunEnd("a", items[-1].started),
        ]

    def test_end_that_never_came_is_reported_if_it_is_certain(self):
        """A run that ends by silence says so only if one of its numbered sources ended and another one did not."""
        missing = "the log ends early: the end of du was never sent"
        for headers, reasons in (
            ({"ue": {"seq": "0", "end": "1"}, "du": {"seq": "0"}}, [missing]),
            ({"ue": {"seq": "0", "end": "1"}, "du": {}}, []),
            ({"ue": {"seq": "0"}, "du": {"seq": "0"}}, []),
        ):
            topic = Partition(idle_seconds=10)
            for source in ("du", "ue"):
                topic.put("a", source=source, **headers[source])
            items = topic.silence(20)
            assert (ended(items), problems(items)) == (["a"], reasons)

    def test_a_source_may_begin_after_all_others_have_ended(self):
        """Within the grace time it joins the run; after it, its lines come too late."""
        topic = Partition(end_grace_seconds=5)
        assert ended(topic.put("a", source="ue", end="1")) == []
        assert topic.silence(4) == []
        topic.put("a", b"du\n", source="du")
        assert topic.silence(100) == []
        assert ended(topic.put("a", b"", source="du", end="1")) == []
        items = topic.silence(5)
        assert (ended(items), closed(items), problems(items)) == (["a"], [ClosedRun("a", "a", 0, 2)], [])
        assert rejected(topic.put("a", source="core")) == ["its run has ended"]

    def test_only_other_sources_may_join_a_run_that_waits(self):
        """Text of those that have ended is late, as after the end, and does not prolong the wait; repeats are dropped."""
        topic = Partition(end_grace_seconds=5)
        topic.put("a", source="ue", seq="0", end="1")
        topic.now = 3.0
        assert rejected(topic.put("a", b"late\n", source="ue", seq="1")) == ["its run has ended"]
        assert topic.put("a", source="ue", seq="0", end="1") == []
        items = topic.silence(2)
        assert (ended(items), problems(items)) == (["a"], [])

    def test_a_line_that_starts_the_next_run_ends_the_wait(self):
        topic = Partition(end_grace_seconds=5, start_pattern="^START")
        topic.put("a", end="1")
        items = topic.put("a", b"late\nSTART\n")
        assert (ended(items), rejected(items), topic.runs.run_ids) == (["a"], ["its run has ended"], ["a@1"])

    def test_the_grace_time_is_proven_as_silence_is(self):
        """A first message of another source may be waiting in the topic while a sink is slow."""
        topic = Partition(end_grace_seconds=5)
        topic.put("a", source="ue", end="1")
        topic.runs.read_up_to(topic.offset + 1, 100.0)
        assert topic.runs.idle(100.0) == []
        topic.put("a", b"du\n", source="du")
        assert topic.runs.run_ids == ["a"]

    @pytest.mark.parametrize(("count", "waits"), [("1", False), ("2", True), ("0", True), ("x", True), ("300", True)])
    def test_no_source_is_waited_for_if_there_is_no_other(self, count: str, waits: bool):
        """The sender says how many there are; what is no such number is said in the verdict."""
        topic = Partition(end_grace_seconds=5)
        items = topic.put("a", source="ue", end="1", run_sources=count)
        assert ended(items) == ([] if waits else ["a"])
        assert len(problems(items)) == (count in ("0", "x", "300"))

    def test_the_number_of_sources_may_come_with_any_message(self):
        topic = Partition(end_grace_seconds=5)
        topic.put("a", source="ue", run_sources="2")
        topic.put("a", b"", source="ue", end="1")
        assert ended(topic.put("a", source="du", end="1")) == ["a"]

    def test_a_run_that_waited_ends_there_when_it_is_read_again(self):
        """What came after its end is late again, however fast it is read."""
        topic = Partition([ClosedRun("a", "a", 0, 0)], end_grace_seconds=5)
        assert ended(topic.put("a", source="ue", end="1")) == ["a"]
        assert rejected(topic.put("a", source="du")) == ["its run has ended"]

    def test_end_line_ends_sources_that_sent_no_end(self):
        topic = Partition(end_pattern="^DONE")
        topic.put("a", source="du", seq="0")
        topic.put("a", source="core", seq="0", end="1")
        assert problems(topic.put("a", b"DONE\n", source="ue", seq="0")) == []

    def test_end_pattern_ends_within_a_message(self):
        """The line belongs to the run; what follows is late."""
        topic = Partition(end_pattern="^DONE")
        items = topic.put("a", b"one\nDONE\nlate\n")
        assert (text(items), ended(items)) == (b"one\nDONE\n", ["a"])
        (letter,) = [item for item in items if isinstance(item, DeadLetter)]
        assert (letter.value, letter.reason) == (b"late\n", "its run has ended")

    def test_start_pattern_opens_the_next_run(self):
        """Under a used key the id gets the offset, two starts in a message a number; ends the run that was open."""
        topic = Partition(start_pattern="^START")
        topic.put("a", b"START 1\n")
        items = topic.put("a", b"more\nSTART 2\nb\nSTART 3\nc\n")
        assert ended(items) == ["a", "a@1"]
        assert (text(items, "a"), text(items, "a@1"), text(items, "a@1.1")) == (b"more\n", b"START 2\nb\n", b"START 3\nc\n")
        assert topic.runs.run_ids == ["a@1.1"]

    def test_late_lines_are_rejected_as_they_came(self):
        """Key, headers and value; an end without text is ignored."""
        topic = Partition()
        topic.put("a", end="1")
        (letter,) = topic.put("a", b"late\n", source="ue")
        assert letter == DeadLetter("message", "its run has ended", "logs/0/1", b"a", b"late\n", (("source", b"ue"),))
        assert topic.put("a", b"", end="1") == []

    def test_idle_needs_proven_silence(self):
        """Time alone ends nothing: the messages may be waiting in the topic while a sink is slow."""
        topic = Partition(idle_seconds=10)
        topic.put("a")
        topic.now = 100.0
        assert topic.runs.idle(topic.now) == []
        topic.runs.read_up_to(topic.offset + 1, topic.now)  # one more is there, not read yet
        assert topic.runs.idle(topic.now) == []
        topic.put("a")
        topic.runs.read_up_to(topic.offset, topic.now)
        assert ended(topic.silence(9)) == []
        assert ended(topic.silence(2)) == ["a"]

    def test_limits_cut_a_run_that_never_ends(self):
        """By bytes and by time; what comes then is another run, and the position moves on."""
        topic = Partition(max_run_bytes=6, max_run_seconds=100)
        items = topic.put("a", b"12345\n")
        assert (ended(items), problems(items)) == (["a"], ["cut after 6 bytes; what follows is another run"])
        topic.put("a", b"more\n")
        assert topic.runs.run_ids == ["a@1"]
        topic.now = 101.0
        assert ended(topic.runs.idle(topic.now)) == ["a@1"]
        assert topic.runs.position == 2

    @pytest.mark.parametrize("limit", ["idle_seconds", "max_run_seconds"])
    def test_runs_that_reach_a_limit_together_all_end(self, limit: str):
        """One step of time ends as many as are due."""
        topic = Partition(**{limit: 10})
        topic.put("a")
        topic.put("b")
        assert ended(topic.silence(10)) == ["a", "b"]

    def test_messages_contain_whole_lines(self):
        """The line end that a message lacks comes before the next one; an empty message is an empty line."""
        topic = Partition()
        items = [*topic.put("a", b"one"), *topic.put("a", b"two\n"), *topic.put("a", b""), *topic.put("a", b"end", end="1")]
        assert text(items) == b"one\ntwo\n\nend"

    def test_tombstones_are_ignored(self):
        """They begin no run."""
        topic = Partition()
        assert topic.put("a", None) == []
        assert topic.runs.run_ids == []

    def test_a_run_of_nothing_but_its_end(self):
        """A test that wrote no log is a run all the same."""
        assert ended(Partition().put("a", b"", end="1")) == ["a"]

    def test_start_time_is_the_lowest_that_makes_sense(self):
        """Timestamps before 2000 and after 2100 do not count."""
        topic = Partition()
        for stamp in (YEAR_2026 + 5000, -1, 0, YEAR_2026, 9_999_999_999_999):
            topic.put("a", timestamp_ms=stamp)
        assert topic.put("a", end="1")[-1].started.isoformat() == "2026-01-01T00:00:00+00:00"


class TestSequence:
    def test_repeats_are_dropped_and_the_order_is_restored(self):
        """The run is as if each message had come once and in order."""
        topic = Partition()
        items = []
        for number in (0, 0, 2, 1, 1, 4, 3):
            items += topic.put("a", b"%d\n" % number, seq=str(number))
        items += topic.put("a", b"", seq="5", end="1")
        assert (text(items), ended(items), problems(items), rejected(items)) == (b"0\n1\n2\n3\n4\n", ["a"], [], [])

    def test_first_message_may_be_early(self):
        """It waits for number 0."""
        topic = Partition()
        items = topic.put("a", b"1\n", seq="1") + topic.put("a", b"0\n", seq="0")
        assert text(items) == b"0\n1\n"

    def test_end_that_is_early_waits(self):
        """The run ends when all before the end has come."""
        topic = Partition()
        topic.put("a", b"0\n", seq="0")
        assert ended(topic.put("a", b"", seq="2", end="1")) == []
        assert ended(topic.put("a", b"1\n", seq="1")) == ["a"]

    def test_gaps_are_reported_when_the_run_ends(self):
        """However long that takes: messages that are read again come faster, and the gap might be filled then."""
        topic = Partition(idle_seconds=1000)
        topic.put("a", b"0\n", seq="0")
        topic.put("a", b"3\n", seq="3")
        assert topic.silence(999) == []
        items = topic.silence(1)
        assert (problems(items), text(items)) == (["messages 1 to 2 never came"], b"3\n")
        assert rejected(topic.put("a", b"1\n", seq="1")) == ["its run has ended"]

    def test_too_many_early_messages(self):
        """The gap before them is given up, and what comes late is rejected."""
        topic = Partition()
        topic.put("a", b"0\n", seq="0")
        items = [
            item for number in range(2, 3 + sequence.MAX_EARLY) for item in topic.put("a", b"%d\n" % number, seq=str(number))
        ]
        assert problems(items) == ["message 1 never came"]
        assert text(items).count(b"\n") == sequence.MAX_EARLY + 1
        assert rejected(topic.put("a", b"1\n", seq="1")) == ["it came too late: the gap at its sequence number was given up"]

    def test_held_messages_are_passed_on_at_the_end(self):
        """What came is judged, and the gap before it is reported."""
        topic = Partition(idle_seconds=10)
        topic.put("a", b"0\n", seq="0")
        topic.put("a", b"2\n", seq="2")
        items = topic.silence(11)
        assert (text(items), problems(items), ended(items)) == (b"2\n", ["message 1 never came"], ["a"])

    @pytest.mark.parametrize("seq", ["-1", "x", "", "1.5", "9" * 30])
    def test_wrong_numbers_are_rejected(self, seq: str):
        """A sender that numbers wrongly must learn of it."""
        assert rejected(Partition().put("a", seq=seq)) == ["the header seq is not a whole number from 0 on"]


class TestRejected:
    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            (None, "no key"),
            (b"", "no key"),
            (b"\xff", "not UTF-8"),
            (b"a\nb", "control characters"),
            (b"\x1b[31m", "control characters"),
            (b"k" * 1025, "longer than 1024"),
            (b" ", "consists of blanks"),
            (b"   ", "consists of blanks"),
        ],
    )
    def test_keys(self, key: bytes | None, reason: str):
        """A key that cannot be the id of a run is rejected with the reason."""
        (why,) = rejected(Partition().put(key))
        assert reason in why

    def test_keys_that_the_rules_reject(self):
        """With the reason that the rules give."""
        topic = Partition(reject_key=lambda key: "no" if key == "b" else None)
        assert (rejected(topic.put("a")), rejected(topic.put("b"))) == ([], ["no"])

    def test_too_many_sources(self):
        """Messages of the 257th source are rejected, those of the others are not."""
        topic = Partition()
        items = [item for number in range(300) for item in topic.put("a", source=str(number))]
        assert set(rejected(items)) == {"the run has more than 256 sources"}
        assert len(rejected(items)) == 44
        assert problems(topic.silence(301)) == ["44 messages were rejected: the run has more than 256 sources"]

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (b"plain text", "not JSON"),
            (b"[1]", "not a JSON object"),
            (b'{"other": 1}', "no field message"),
            (b'{"message": 5}', "is not a string"),
            (b"[" * 100_000, "not JSON"),
        ],
    )
    def test_json_that_cannot_be_used(self, value: bytes, reason: str):
        """It is rejected, and the reason names the setting where that may help."""
        (why,) = rejected(Partition(format="json").put("a", value))
        assert reason in why


class TestJson:
    def test_fields(self):
        """Text, source, end and labels come from the fields that the settings name, nested or not."""
        topic = Partition(format="json", json_text="log.text", json_source="host", json_end="done")
        value = {"log": {"text": "one"}, "host": "ue", "testbed": "rack 3"}
        items = topic.put("a", json.dumps(value).encode())
        items += topic.put("a", json.dumps({"host": "ue", "done": True}).encode())
        assert items[0] == Chunk("a", b"one", "ue", {"testbed": "rack 3"})
        assert ended(items) == ["a"]


def test_labels_are_passed_on_once_and_late_ones_too():
    """The first value of a name counts; the harness's result comes with the end."""
    topic = Partition()
    first = topic.put("a", test_case_name="attach")
    second = topic.put("a", test_case_name="other")
    last = topic.put("a", b"", test_case_result_status="pass", end="1")
    assert [item.headers for item in (*first, *second, last[0])] == [
        {"test.case.name": "attach"}, {}, {"test.case.result.status": "pass"}
    ]  # fmt: skip


def test_too_many_labels_are_reported_once():
    """The first 64 are kept, and no message after that brings another."""
    topic = Partition()
    items = topic.put("a", **{f"label{number}": "v" for number in range(70)})
    assert len(items[0].headers) == messages.MAX_HEADERS
    assert problems(items) == ["more than 64 headers, or one of more than 1024 characters: the rest was cut off"]
    assert [item.note for item in items if isinstance(item, Problem)] == [True], "no reason for a review"
    again = topic.put("a", label99="v")
    assert (again[0].headers, problems(again)) == ({}, [])


class TestEndHeader:
    @pytest.mark.parametrize("value", ["1", "true", "TRUE", "True", " true "])
    def test_ends_the_source(self, value: str):
        assert ended(Partition().put("a", end=value)) == ["a"]

    @pytest.mark.parametrize("value", ["0", "false", "False", ""])
    def test_says_that_the_source_goes_on(self, value: str):
        items = Partition().put("a", end=value)
        assert (ended(items), problems(items)) == ([], [])

    @pytest.mark.parametrize("value", ["yes", "2", "end", "-1"])
    def test_that_says_neither_is_in_the_verdict(self, value: str):
        """Once for each value; its text is taken."""
        topic = Partition()
        items = topic.put("a", end=value) + topic.put("a", end=value)
        assert (ended(items), text(items)) == ([], b"x\nx\n")
        assert problems(items) == [f"the header end is {value!r}; only 1 and true end a source"]

    def test_of_a_json_object(self):
        topic = Partition(format="json")
        assert problems(topic.put("a", b'{"message": "x", "end": "later"}')) == [
            "the JSON field end is 'later'; only 1 and true end a source"
        ]
        assert ended(topic.put("a", b'{"message": "x", "end": "TRUE"}')) == ["a"]


class TestReadAgain:
    def test_position_is_held_by_the_oldest_open_run(self):
        """It moves when that run ends."""
        topic = Partition()
        topic.put("a")
        topic.put("b")
        topic.put("b", end="1")
        assert topic.runs.position == 0
        topic.put("a", end="1")
        assert topic.runs.position == topic.offset

    def test_durable_run_is_skipped(self):
        """Its first message lies before the first offset read: its verdict was durable."""
        topic = Partition([ClosedRun("a", "a", 2, 6)], first=5)
        assert topic.put("a") == []
        assert topic.put("a", end="1") == []
        assert rejected(topic.put("a", b"late\n")) == ["its run has ended"]
        assert topic.runs.position == 8

    def test_other_runs_end_where_they_ended(self):
        """By idle time-out the first time; what came later stays late."""
        topic = Partition([ClosedRun("a", "a", 0, 1)])
        items = topic.put("a", b"one\n") + topic.put("a", b"two\n")
        assert (text(items), ended(items)) == (b"one\ntwo\n", ["a"])
        assert rejected(topic.put("a", b"late\n")) == ["its run has ended"]

    def test_runs_that_ended_one_after_the_other_end_again(self):
        """The text of the second was held in the first: both ended at one silence, and nothing later joins the second."""
        closed_runs = [ClosedRun("a", "a", 0, 2), ClosedRun("a", "a@0", 0, 2)]
        topic = Partition(closed_runs, start_pattern="^START")
        topic.put("a", b"one\nSTART\ntwo\n", source="s", seq="1")
        topic.put("a", b"x\n", source="t")
        topic.put("b")  # the last message before that silence
        items = topic.put("a", b"late\n", source="t")
        assert (ended(items), text(items, "a@0"), rejected(items)) == (["a", "a@0"], b"START\ntwo\n", ["its run has ended"])

    def test_last_message_not_kept_any_more(self):
        """Retention deleted it: the run ends once later messages are read."""
        topic = Partition([ClosedRun("a", "a", 0, 1)])
        topic.put("a", b"one\n")
        topic.offset = 5
        topic.put("b")
        assert ended(topic.silence(0)) == ["a"]

    def test_runs_that_share_a_message(self):
        """The first is durable, the second is not: it begins in the middle of the message."""
        closed_runs = [ClosedRun("a", "a", 0, 3, pieces=1), ClosedRun("a", "a@3", 3, 4)]
        topic = Partition(closed_runs, first=2, start_pattern="^START")
        items = topic.put("a", b"x\n") + topic.put("a", b"y\nSTART\nz\n") + topic.put("a", b"w\n")
        assert (text(items), ended(items)) == (b"START\nz\nw\n", ["a@3"])

    def test_run_that_was_cut_goes_on(self):
        """The rest of its messages are another run, as the first time."""
        topic = Partition([ClosedRun("a", "a", 0, 1, cut=True)], first=2)
        topic.put("a")
        assert topic.runs.run_ids == ["a@2"]

    def test_consumer_set_back(self):
        """Messages that come a second time are not taken twice."""
        topic = Partition()
        topic.put("a", b"one\n")
        topic.offset = 0
        assert topic.put("a", b"one\n") == []
        assert text(topic.put("a", b"two\n")) == b"two\n"
