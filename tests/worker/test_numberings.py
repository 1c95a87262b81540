"""Senders that number anew, two that number alike, parts, repeats: no line is lost, and the verdict says what was done."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from stream_triage.records import Chunk, DeadLetter, Problem, Record, Repeats, RunEnd
from stream_triage.worker import numberings, reread, sequence
from stream_triage.worker.runs import PARTS_BETWEEN_RUNS, Item, PartitionRuns, RunRules


class Run:
    """One run of one source, fed message by message; `end` ends it and says what came of it."""

    def __init__(self, **rules: object) -> None:
        self._runs = PartitionRuns(RunRules(**rules))
        self._offset = 0
        self.items: list[Item] = []

    def put(self, seq: int, text: bytes, epoch: str = "", source: str = "s", **headers: str) -> None:
        named = {"seq": str(seq), "source": source, **({"seq.epoch": epoch} if epoch else {}), **headers}
        pairs = tuple((name.replace("_", "."), value.encode()) for name, value in named.items())
        self.items += self._runs.take(Record("logs", 0, self._offset, 0, b"a", text, pairs), 0.0)
        self._offset += 1

    def send(self, texts: Iterable[bytes], first: int = 0, epoch: str = "") -> "Run":
        for seq, text in enumerate(texts, first):
            self.put(seq, text, epoch)
        return self

    def end(self) -> "Run":
        self._runs.read_up_to(self._offset, 1e4)
        self.items += self._runs.idle(1e4)
        assert [item.run_id for item in self.items if isinstance(item, RunEnd)] == ["a"]
        return self

    @property
    def lines(self) -> list[bytes]:
        return b"".join(item.data for item in self.items if isinstance(item, Chunk)).split()

    @property
    def doubts(self) -> list[str]:
        return [item.reason for item in self.items if isinstance(item, Problem) and not item.note]

    @property
    def notes(self) -> list[str]:
        return [item.reason for item in self.items if isinstance(item, Problem) and item.note]

    @property
    def repeats(self) -> tuple[int, int]:
        (found,) = [item for item in self.items if isinstance(item, Repeats)] or [Repeats("a", "s", 0, 0)]
        return found.messages, found.bytes

    @property
    def rejected(self) -> list[str]:
        return [item.reason for item in self.items if isinstance(item, DeadLetter)]


def log(first: int, last: int, lines: int = 1) -> list[bytes]:
    """Lines of a log, so many in each message."""
    whole = [b"line-%d\n" % number for number in range(first, last)]
    return [b"".join(whole[start : start + lines]) for start in range(0, len(whole), lines)]


ONCE = ["its messages were numbered anew once"]
EPOCHS = pytest.mark.parametrize("epochs", [("", ""), ("one", "two"), ("", "two")], ids=["none", "named", "from now on"])


@EPOCHS
class TestRestart:
    def test_that_goes_on_loses_nothing(self, epochs: tuple[str, str]):
        """839 lines, of which the sender numbers 689 anew: all are in the run, in order, and a note says so."""
        run = Run().send(log(0, 150), epoch=epochs[0]).send(log(150, 839), epoch=epochs[1]).end()
        assert run.lines == [b"line-%d" % number for number in range(839)]
        assert (run.doubts, run.notes, run.repeats, run.rejected) == ([], ONCE, (0, 0), [])

    def test_that_reads_the_log_again_doubles_nothing(self, epochs: tuple[str, str]):
        """What came before is dropped and counted; then the log goes on."""
        run = Run().send(log(0, 100), epoch=epochs[0]).send(log(0, 150), epoch=epochs[1]).end()
        assert run.lines == [b"line-%d" % number for number in range(150)]
        assert run.repeats == (100, sum(map(len, log(0, 100))))
        assert run.doubts == []

    @pytest.mark.parametrize("lines", [(1, 7), (7, 1), (4, 9), (100, 3)])
    def test_that_cuts_the_log_elsewhere_doubles_nothing(self, lines: tuple[int, int], epochs: tuple[str, str]):
        """Lines are compared then, also where one message has old ones and new ones."""
        run = Run().send(log(0, 100, lines[0]), epoch=epochs[0]).send(log(0, 150, lines[1]), epoch=epochs[1]).end()
        assert run.lines == [b"line-%d" % number for number in range(150)]
        assert (run.doubts, run.repeats[1]) == ([], sum(map(len, log(0, 100))))

    def test_with_other_text_after_the_same_beginning_is_a_doubt(self, epochs: tuple[str, str]):
        """Nothing is lost, but some lines may have come twice."""
        other = [*log(0, 50), b"another\n", *log(50, 60)]
        run = Run().send(log(0, 100), epoch=epochs[0]).send(other, epoch=epochs[1]).end()
        assert {*run.lines} == {*(line.strip() for line in log(0, 100)), b"another"}
        assert run.doubts == ["numbers came again with other text: some lines may have come twice"]

    @pytest.mark.parametrize("lines", [(5, 5), (1, 7), (7, 1), (1, 1), (60, 60)])
    @pytest.mark.parametrize("first", [1, 30, 57])
    def test_that_goes_on_some_lines_before_is_a_doubt(self, first: int, lines: tuple[int, int], epochs: tuple[str, str]):
        """Its sender had stored an older position: nothing is lost, and the verdict says that lines may have come twice."""
        run = Run().send(log(0, 60, lines[0]), epoch=epochs[0]).send(log(first, 90, lines[1]), epoch=epochs[1]).end()
        assert {*run.lines} == {line.strip() for line in log(0, 90)}
        assert run.doubts == ["numbers came again with other text: some lines may have come twice"]

    def test_that_goes_on_with_lines_as_before_is_no_doubt(self, epochs: tuple[str, str]):
        """A log repeats lines by itself: a few of them at the seam say nothing."""
        beats = [b"tick\n", b"tock\n"] * 30
        run = Run().send([b"begin\n", *beats], epoch=epochs[0]).send([*beats, b"over\n"], epoch=epochs[1]).end()
        assert len(run.lines) == 122
        assert (run.doubts, run.notes) == ([], ONCE)

    def test_twice(self, epochs: tuple[str, str]):
        """Each numbering goes on where the one before ended."""
        run = Run().send(log(0, 20), epoch=epochs[0]).send(log(20, 30), epoch=epochs[1])
        run.send(log(30, 70), epoch=epochs[1] and "three").end()
        assert run.lines == [b"line-%d" % number for number in range(70)]
        assert (run.doubts, run.notes) == ([], ["its messages were numbered anew 2 times"])

    def test_while_messages_are_held(self, epochs: tuple[str, str]):
        """They are passed on when the run ends, and the gap before them is reported."""
        run = Run().send(log(0, 2), epoch=epochs[0]).send(log(3, 5), first=3, epoch=epochs[0])
        run.send(log(10, 13), epoch=epochs[1]).end()
        assert sorted(run.lines) == sorted(line.strip() for line in (*log(0, 2), *log(3, 5), *log(10, 13)))
        assert run.doubts == ["message 2 never came"]

    def test_has_repeats_and_disorder_of_its_own(self, epochs: tuple[str, str]):
        """The new numbering is put in order, and its repeats are dropped, as those of the first one."""
        run = Run().send(log(0, 5), epoch=epochs[0])
        for seq in (0, 2, 1, 1, 4, 3, 3):
            run.put(seq, b"new-%d\n" % seq, epochs[1])
        run.end()
        assert run.lines == [*(line.strip() for line in log(0, 5)), *(b"new-%d" % seq for seq in range(5))]
        assert (run.repeats[0], run.doubts) == (2, [])

    def test_a_late_message_of_the_first_numbering(self, epochs: tuple[str, str]):
        """It is taken, and the order is said to be uncertain."""
        run = Run().send(log(0, 5), epoch=epochs[0]).send([b"new-0\n", b"new-1\n"], epoch=epochs[1])
        run.put(5, b"late\n", epochs[0])
        run.end()
        assert b"late" in run.lines
        assert run.doubts == ["messages of two numberings came mixed: the order of the lines is not certain"]

    def test_an_early_first_message(self, epochs: tuple[str, str]):
        """Nothing is lost if the second message of the new numbering comes first."""
        run = Run().send(log(0, 5), epoch=epochs[0])
        for seq in (1, 0, 2):
            run.put(seq, b"new-%d\n" % seq, epochs[1])
        run.end()
        assert sorted(run.lines) == sorted([*(line.strip() for line in log(0, 5)), b"new-0", b"new-1", b"new-2"])


@pytest.mark.parametrize("epochs", [("", ""), ("one", "two")])
def test_two_senders_that_number_alike(epochs: tuple[str, str]):
    """All lines of both are taken, each in its order, and the verdict needs a review."""
    run = Run()
    for seq in range(50):
        run.put(seq, b"a-%d\n" % seq, epochs[0])
        run.put(seq, b"b-%d\n" % seq, epochs[1])
    run.end()
    for name in (b"a", b"b"):
        assert [line for line in run.lines if line.startswith(name)] == [b"%s-%d" % (name, seq) for seq in range(50)]
    assert run.doubts == ["messages of two numberings came mixed: the order of the lines is not certain"]


def test_numbers_that_go_back():
    """A sender that goes on from an older count: text that came before is dropped, other text is taken, with a doubt."""
    run = Run().send(log(0, 20)).send([*log(15, 20), *log(20, 25)], first=15).end()
    assert (run.lines, run.doubts) == ([b"line-%d" % number for number in range(25)], [])
    run = Run().send(log(0, 20)).send(log(20, 30), first=15).end()
    assert run.lines == [b"line-%d" % number for number in range(30)]
    assert run.doubts == ["numbers came again with other text: some lines may have come twice"]


def test_a_new_numbering_of_a_later_run():
    """There the sender may have counted on, so a lower number without a name is rejected, and the verdict says so."""
    run = Run(start_pattern="^START")
    run.put(0, b"START 1\n")
    run.put(1, b"START 2\n")
    run.put(0, b"new\n")
    run.put(0, b"named\n", epoch="two")
    run._runs.read_up_to(run._offset, 1e4)
    run.items += run._runs.idle(1e4)
    assert run.rejected == ["its sequence number is below that of the first message of its run"]
    assert b"named" in run.lines
    assert run.doubts == ["1 message was rejected: its sequence number is below that of the first message of its run"]


def test_a_number_that_never_changes():
    """All text is taken, and the verdict says what is wrong; few numberings are remembered."""
    run = Run()
    for number in range(100):
        run.put(0, b"line-%d\n" % number)
    run.end()
    assert run.lines == [b"line-%d" % number for number in range(100)]
    assert "the header seq must count the messages of a source" in run.doubts[0]


def test_numberings_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """The one not used for longest is closed; what it holds is passed on before."""
    monkeypatch.setattr(numberings, "MAX_NUMBERINGS", 2)
    run = Run()
    run.put(0, b"a\n", "1")
    run.put(2, b"held\n", "1")
    for epoch in ("2", "3", "4"):
        run.put(0, b"%s\n" % epoch.encode(), epoch)
    source = run._runs._open["a"].sources["s"]
    assert len(list(source.numberings)) == 2
    run.end()
    assert sorted(run.lines) == [b"2", b"3", b"4", b"a", b"held"]
    assert "message 1 never came" in run.doubts


def test_digests_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """What cannot be compared any more counts as a repeat; the verdict says so, unless the sender names its numbering."""
    monkeypatch.setattr(sequence, "FIRST_DIGESTS", 2)
    monkeypatch.setattr(sequence, "LAST_DIGESTS", 4)
    for epoch, doubts in (("", 1), ("one", 0)):
        run = Run().send(log(0, 50), epoch=epoch)
        run.put(20, b"line-20\n", epoch)
        run.put(49, b"line-49\n", epoch)
        run.put(0, b"line-0\n", epoch)
        run.end()
        assert (run.repeats[0], len(run.doubts)) == (3, doubts)


def test_lines_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """A log that is read again beyond them may double lines; the verdict says so."""
    monkeypatch.setattr(reread, "MAX_LINES", 10)
    run = Run().send(log(0, 20), epoch="one").send(log(0, 25), epoch="two").end()
    assert run.lines.count(b"line-5") == 1
    assert run.lines.count(b"line-15") == 2
    assert run.doubts == ["numbers came again with other text: some lines may have come twice"]


def test_a_new_numbering_after_more_lines_is_a_doubt(monkeypatch: pytest.MonkeyPatch):
    """Whether it goes on where the log had stopped, or some lines before, cannot be told any more."""
    monkeypatch.setattr(reread, "MAX_LINES", 10)
    run = Run().send(log(0, 20), epoch="one").send(log(15, 25), epoch="two").end()
    assert run.lines.count(b"line-17") == 2
    assert run.doubts == ["numbers came again with other text: some lines may have come twice"]


class TestParts:
    def test_are_joined_in_any_order(self):
        """Lines that were cut are whole again, and the message counts as one."""
        run = Run()
        run.put(0, b"first\n")
        for number, text in ((2, b"d li"), (3, b"ne\n"), (1, b"secon")):
            run.put(1, text, seq_part=f"{number}/3/abc")
        run.put(2, b"third\n")
        run.end()
        assert (b"".join(item.data for item in run.items if isinstance(item, Chunk)), run.doubts) == (
            b"first\nsecond line\nthird\n", []
        )  # fmt: skip

    @pytest.mark.parametrize("again", [((1, "2/2"),), ((1, "1/2"), (1, "2/2")), ((0, "1/3"), (2, "2/3"), (3, "3/3"))])
    def test_sent_again_double_nothing(self, again: tuple[tuple[int, str], ...]):
        """After a lost connection, in the same parts or in others."""
        pieces = [b"one\ntwo\n", b"three\n", b"two\n", b"three\n", b"one\n"]
        texts = {"1/2": pieces[0], "2/2": pieces[1], "1/3": b"one\n", "2/3": b"two\n", "3/3": b"three\n"}
        run = Run()
        run.put(0, texts["1/2"], seq_part="1/2/abc")
        for _, part in again:
            run.put(0, texts[part], seq_part=f"{part}/abc")
        for part in ("1/2", "2/2"):
            run.put(0, texts[part], seq_part=f"{part}/abc")
        run.put(1, b"four\n")
        run.end()
        assert run.lines == [b"one", b"two", b"three", b"four"]
        assert run.doubts == []
        assert run.repeats[0] > 0

    def test_one_that_comes_again_when_the_message_is_whole(self):
        """It belongs to that message: its text is not taken twice."""
        run = Run()
        for part, text in (("1/2", b"one\n"), ("2/2", b"two\n"), ("1/2", b"one\n")):
            run.put(0, text, seq_part=f"{part}/abc")
        run.put(1, b"three\n")
        run.end()
        assert (run.lines, run.doubts, run.repeats[0]) == ([b"one", b"two", b"three"], [], 1)

    def test_what_never_becomes_whole_is_taken_as_it_is(self):
        """The verdict says that a part is missing."""
        run = Run()
        run.put(0, b"one\n", seq_part="1/2")
        run.put(1, b"two\n")
        run.end()
        assert (run.lines, run.doubts) == ([b"one", b"two"], ["message 0 came only in part"])

    def test_between_two_runs(self):
        """They are not joined there; the run that the first one begins needs a review."""
        runs = PartitionRuns(RunRules(start_pattern="^START", end_pattern="^END"))
        parts = [(0, "", b"START\none\nEND\n"), (1, "1/2/x", b"START\ntwo\n"), (1, "2/2/x", b"three\nEND\n")]
        items: list[Item] = []
        for offset, (seq, part, text) in enumerate(parts):
            headers = (("seq", b"%d" % seq), *([("seq.part", part.encode())] if part else []))
            items += runs.take(Record("logs", 0, offset, 0, b"a", text, headers), 0.0)
        problems = [(item.run_id, item.reason) for item in items if isinstance(item, Problem)]
        assert problems == [("a@1", PARTS_BETWEEN_RUNS)]

    def test_of_two_messages_with_one_number(self):
        """Neither hides the other."""
        run = Run()
        run.put(0, b"a\n", seq_part="1/2")
        run.put(0, b"b\n", seq_part="1/2")
        run.put(0, b"c\n", seq_part="2/2")
        run.end()
        assert sorted(run.lines) == [b"a", b"b", b"c"]
        assert "message 0 came only in part" in run.doubts

    def test_are_bounded(self):
        """A sender of first parts only cannot fill the memory."""
        run = Run()
        for seq in range(sequence.MAX_EARLY + 2):
            run.put(seq, b"line-%d\n" % seq, seq_part="1/2")
        assert len(run.lines) > sequence.MAX_EARLY
        run.end()
        assert run.lines == [b"line-%d" % seq for seq in range(sequence.MAX_EARLY + 2)]

    @pytest.mark.parametrize("part", ["", "1", "0/2", "3/2", "1/0", "x/2", "1/99999", "1/2/a b"])
    def test_wrong_ones_are_rejected(self, part: str):
        run = Run()
        run.put(0, b"x\n", seq_part=part)
        assert "seq.part" in run.rejected[0]


def test_limits_are_those_of_the_docs():
    """docs/reliability.md states what is remembered of one source."""
    text = " ".join((Path(__file__).parents[2] / "docs" / "reliability.md").read_text().split())
    assert f"{numberings.MAX_NUMBERINGS} numberings" in text
    assert f"first {sequence.FIRST_DIGESTS:,} and at least the last {sequence.LAST_DIGESTS:,} messages" in text
    assert f"first {reread.MAX_LINES:,} lines" in text
