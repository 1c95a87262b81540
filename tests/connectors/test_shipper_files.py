"""Following files: every line comes once and in order while files grow and are renamed, replaced and truncated."""

import gzip
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from triage_ship.files import Chunk, Files, FollowOptions
from triage_ship.headers import PathPattern


class Reading:
    """Follows files with a clock of its own and collects the chunks. Positions are what a spool would remember."""

    def __init__(self, *paths: Path, **options: Any) -> None:
        self.problems: list[str] = []
        self.chunks: list[Chunk] = []
        self.positions: dict[str, Any] = {}
        self.now = 100.0
        defaults = {"chunk_bytes": 64, "linger_seconds": 0.0, "path_pattern": PathPattern(None)}
        self.options = FollowOptions(tuple(map(str, paths)), **defaults | options)
        self.files = Files(self.options, self.positions, self.problems.append)

    def turn(self, seconds: float = 1.0, turns: int = 1) -> "Reading":
        """Scans and reads that often, each time after so many seconds."""
        for _ in range(turns):
            self.now += seconds
            self.files.scan(self.now)
            for chunk in self.files.read(self.now):
                self.chunks.append(chunk)
                self.positions[chunk.file["id"]] = dict(chunk.file)
        return self

    def restart(self) -> "Reading":
        """Forgets everything but the positions."""
        self.files.close()
        self.files = Files(self.options, self.positions, self.problems.append)
        return self

    def texts(self) -> dict[str, bytes]:
        """The text of each run."""
        texts: dict[str, bytes] = {}
        for chunk in self.chunks:
            texts[chunk.key] = texts.get(chunk.key, b"") + chunk.text
        return texts

    @property
    def text(self) -> bytes:
        """The text of the only run."""
        (text,) = self.texts().values()
        return text


Follow = Callable[..., Reading]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Starts to follow files, and closes them when the test is over."""
    started: list[Reading] = []

    def start(*paths: Path, **options: Any) -> Reading:
        started.append(Reading(*paths, **options))
        return started[-1]

    yield start
    for reading in started:
        reading.files.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "tm500.log"


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


class TestFiles:
    def test_new_lines_come_once(self, follow: Follow, log: Path):
        append(log, b"one\ntwo\nthr")
        reading = follow(log, run_id="r").turn()
        assert reading.text == b"one\ntwo\n"
        append(log, b"ee\n")
        assert reading.turn().restart().turn(turns=3).text == b"one\ntwo\nthree\n"
        assert [chunk.source for chunk in reading.chunks] == ["tm500.log"] * 2

    def test_rotation(self, follow: Follow, log: Path):
        """A late line in the renamed file comes before the lines of the new one, which waits for it."""
        append(log, b"1\n")
        reading = follow(log, run_id="r").turn()
        log.rename(log.with_name("tm500.log.1"))
        append(log, b"3\n")
        append(log.with_name("tm500.log.1"), b"2\n")
        reading.turn().turn(4.0).turn(4.0)
        assert reading.text == b"1\n2\n3\n"

    def test_overwritten_while_a_rotated_file_appears(self, follow: Follow, log: Path):
        """The new content is read at once: after a kill, nobody would know that it is another one."""
        append(log, b"old\n")
        reading = follow(log).turn()
        log.write_bytes(b"new\nlines\n")
        log.with_name("tm500.log.1").write_bytes(b"of another log\n")
        reading.turn()
        assert b"new\nlines\n" in reading.texts().values()
        assert any("was overwritten" in problem for problem in reading.problems)

    def test_truncated_then_rotated_while_it_waits_for_an_older_file(self, follow: Follow, log: Path):
        """What was written after the truncation comes before the lines of the files that were created later."""
        append(log, b"1\n")
        reading = follow(log, run_id="r").turn()
        reading.files.close()
        append(log.with_name("tm500.log.5"), b"2\n")
        os.truncate(log, 0)
        reading.restart().turn(1.0)
        append(log, b"3\n")
        for number, text in ((4, b"4\n"), (3, b"5\n")):
            reading.turn(0.5)
            log.rename(log.with_name(f"tm500.log.{number}"))
            append(log, text)
        reading.turn(0.5).turn(4.0, turns=5)
        assert reading.text == b"1\n2\n3\n4\n5\n"

    def test_copied_truncated_and_rotated_while_the_shipper_was_stopped(self, follow: Follow, log: Path):
        """The copy is not read again although it is older than the file from which it was made."""
        append(log, b"1\n2\n")
        reading = follow(log).turn()
        reading.files.close()
        append(log, b"3\n")
        log.with_name("tm500.log.2").write_bytes(log.read_bytes())
        log.write_bytes(b"4\n")
        log.rename(log.with_name("tm500.log.1"))
        append(log, b"5\n")
        reading.restart().turn(1.0, turns=6)
        assert sorted(reading.texts().values()) == [b"1\n2\n3\n", b"4\n", b"5\n"]

    def test_rotated_twice_while_the_shipper_was_stopped(self, follow: Follow, log: Path):
        """Files that were created and renamed meanwhile are read too; a compressed one is reported and skipped."""
        append(log, b"1\n")
        reading = follow(log, run_id="r").turn()
        reading.files.close()
        append(log, b"2\n")
        log.rename(log.with_name("tm500.log.2"))
        append(log.with_name("tm500.log.1"), b"3\n")
        append(log, b"4\n")
        append(log.with_name("tm500.log.3.gz"), b"\x1f\x8b")
        times = (("tm500.log.2", 10), ("tm500.log.1", 20), ("tm500.log", 30))
        for name, seconds in times:
            os.utime(log.with_name(name), (time.time() + seconds, time.time() + seconds))
        reading.restart().turn(4.0, turns=8)
        assert reading.text == b"1\n2\n3\n4\n"
        assert "compressed" in reading.problems[0]

    def test_truncated_in_place(self, follow: Follow, log: Path):
        """Logrotate does this with `copytruncate`: what follows is read from the beginning."""
        append(log, b"1\n2\n")
        reading = follow(log, run_id="r").turn()
        log.write_bytes(b"3\n")
        assert reading.turn(turns=2).text == b"1\n2\n3\n"
        assert "read from its beginning" in reading.problems[0]

    def test_replaced_in_place_by_something_longer(self, follow: Follow, log: Path):
        """The size does not show it, the bytes before the position do."""
        append(log, b"1\n2\n")
        reading = follow(log, run_id="r").turn()
        log.write_bytes(b"3 quite another text\n4\n5\n")
        assert reading.turn(turns=2).text == b"1\n2\n3 quite another text\n4\n5\n"

    def test_each_file_is_a_run(self, follow: Follow, log: Path):
        """A file that replaces another starts a run of its own, and the first run ends."""
        append(log, b"1\n")
        reading = follow(log).turn()
        log.unlink()
        append(log, b"2\n")
        reading.turn(1.0).turn(4.0, turns=2)
        assert list(reading.texts().values()) == [b"1\n", b"2\n"]
        assert [chunk.end for chunk in reading.chunks] in ([False, True, False], [False, False, True])

    def test_path_pattern(self, follow: Follow, log: Path):
        """Named groups set the source and headers."""
        pattern = PathPattern(r"/(?P<testbed>logs)/(?P<source>\w+)\.log")
        append(log, b"1\n")
        reading = follow(log.parent, path_pattern=pattern, headers={"a": "b"}).turn()
        (chunk,) = reading.chunks
        assert (chunk.source, chunk.headers) == ("tm500", {"a": "b", "testbed": "logs"})

    def test_run_of_the_path(self, follow: Follow, log: Path):
        """The group `run` is the run id, and the run has no suffix of its own."""
        append(log, b"1\n")
        reading = follow(log.parent, path_pattern=PathPattern(r"(?P<run>logs)/")).turn()
        assert [(chunk.key, chunk.source) for chunk in reading.chunks] == [("logs", "tm500.log")]

    def test_file_that_another_shipper_follows(self, follow: Follow, log: Path):
        """It is reported and not read twice."""
        append(log, b"1\n")
        first, second = follow(log).turn(), follow(log.parent).turn()
        assert (len(first.chunks), second.chunks) == (1, [])
        assert "read by another triage-ship" in second.problems[0]

    def test_reused_inode_is_another_file(self, follow: Follow, log: Path):
        """A position counts only for the file it was taken from: file systems reuse the inodes of deleted files."""
        append(log, b"first run, line 1\nfirst run, line 2\n")
        reading = follow(log).turn().turn(4.0)
        reading.files.close()
        log.unlink()
        append(log, b"second run, line 1\nsecond run, line 2\nsecond run, line 3\n")
        status = log.stat()
        (position,) = reading.positions.values()
        reused = f"{status.st_dev}:{status.st_ino}"
        reading.positions.clear()
        reading.positions[reused] = {**position, "id": reused}
        reading.chunks.clear()
        reading.restart().turn(turns=2)
        assert list(reading.texts().values()) in ([b"", log.read_bytes()], [log.read_bytes(), b""])  # and the first run ends

    def test_a_folder_is_a_run(self, follow: Follow, tmp_path: Path):
        """All its sources are sent before the first of them ends, empty files included."""
        for name, text in (("du.log", b"du\n"), ("ue.log", b"ue\nlast line without end"), ("empty.log", b"")):
            append(tmp_path / name, text)
        reading = follow(tmp_path, run_by="folder", once=True).turn(turns=3)
        assert len({chunk.key for chunk in reading.chunks}) == 1
        first_end = [chunk.end for chunk in reading.chunks].index(True)
        assert {chunk.source for chunk in reading.chunks[: first_end + 1]} == {"du.log", "ue.log", "empty.log"}
        assert all(chunk.end for chunk in reading.chunks[first_end:])
        assert reading.files.finished
        assert b"last line without end" in reading.text
        assert reading.turn(turns=2).restart().turn().files.finished

    def test_quiet_run_ends(self, follow: Follow, log: Path):
        """Lines that come later are another run."""
        append(log, b"1\n")
        reading = follow(log, idle_end_seconds=10.0).turn().turn(11.0)
        assert [chunk.end for chunk in reading.chunks] == [False, True]
        append(log, b"2\n")
        assert list(reading.turn().texts().values()) == [b"1\n", b"2\n"]

    def test_completed_files_are_closed(self, follow: Follow, tmp_path: Path):
        """A test farm leaves thousands of them; one that grows again is opened again, and is another run."""
        for number in range(50):
            append(tmp_path / f"{number}.log", b"1\n")
        reading = follow(tmp_path, idle_end_seconds=5.0).turn().turn(6.0)
        assert reading.files._sources == []
        assert not any(file.descriptor for file in reading.files._reader.files.values())
        assert len(reading.texts()) == 50
        append(tmp_path / "7.log", b"2\n")
        assert len(reading.turn().texts()) == 51
        assert len(reading.restart().turn(turns=2).texts()) == 51

    def test_folder_that_the_next_test_uses(self, follow: Follow, tmp_path: Path):
        """After the idle end, whatever is written in the folder is another run: the worker rejects lines for the first."""
        append(tmp_path / "ue.log", b"first\n")
        append(tmp_path / "du.log", b"first\n")
        reading = follow(tmp_path, run_by="folder", idle_end_seconds=5.0).turn().turn(6.0)
        append(tmp_path / "ue.log", b"second\n")
        reading.restart().turn()
        (tmp_path / "du.log").write_bytes(b"third, which is longer than the first\n")
        reading.turn(turns=3).turn(6.0)
        first, second = reading.texts()
        assert second == first + "~2"
        assert reading.texts()[second] == b"second\nthird, which is longer than the first\n"
        assert [chunk.end for chunk in reading.chunks if chunk.key == second][-2:] == [True, True]

    def test_folder_of_which_a_log_is_overwritten(self, follow: Follow, tmp_path: Path):
        """The next test has begun, without idle time in between: the run ends for all its sources."""
        append(tmp_path / "ue.log", b"first\n")
        append(tmp_path / "du.log", b"first\n")
        reading = follow(tmp_path, run_by="folder").turn()
        (tmp_path / "ue.log").write_bytes(b"2\n")
        append(tmp_path / "du.log", b"2\n")
        reading.turn(turns=3)
        assert len(reading.texts()) == 2
        assert sorted(chunk.source for chunk in reading.chunks if chunk.end) == ["du.log", "ue.log"]

    def test_copytruncate(self, follow: Follow, log: Path):
        """The source goes on in its run; the copy is not sent, nor after a restart, nor under its next names."""
        text = b"".join(b"%03d\n" % number for number in range(839))
        append(log, text[:2000])
        reading = follow(log.parent, run_by="folder").turn()
        append(log, text[2000:2776])
        log.with_name("tm500.log.1").write_bytes(log.read_bytes())
        log.write_bytes(text[2776:])
        reading.turn(turns=2).restart().turn(turns=2)
        log.with_name("tm500.log.1").rename(log.with_name("tm500.log.2"))
        packed = log.with_name("tm500.log.2.gz")
        packed.write_bytes(gzip.compress(log.with_name("tm500.log.2").read_bytes()))
        log.with_name("tm500.log.2").unlink()
        assert reading.turn().restart().turn(turns=3).text == text
        assert not any("missing" in problem for problem in reading.problems)

    def test_compressed_while_the_shipper_was_stopped(self, follow: Follow, log: Path):
        """What was not sent is read from the compressed file; the run ends only then."""
        append(log, b"1\n")
        reading = follow(log).turn()
        reading.files.close()
        log.with_name("tm500.log.1.gz").write_bytes(gzip.compress(b"1\n2\n"))
        log.unlink()
        assert reading.restart().turn(turns=3).text == b"1\n2\n"
        assert [chunk.end for chunk in reading.chunks] == [False, False, True]

    def test_deleted_while_the_shipper_was_stopped(self, follow: Follow, log: Path):
        """Its run ends, and that lines may be missing is reported once."""
        append(log, b"1\n")
        reading = follow(log).turn()
        reading.files.close()
        log.unlink()
        reading.restart().turn(turns=2).restart().turn()
        assert [chunk.end for chunk in reading.chunks] == [False, True]
        assert reading.problems == [f"{log} was deleted; lines written after byte 2 may be missing"]

    def test_line_that_a_rotated_file_does_not_end(self, follow: Follow, log: Path):
        """The next file does not continue it."""
        append(log, b"1\nhalf")
        reading = follow(log, run_id="r").turn()
        log.rename(log.with_name("tm500.log.1"))
        append(log, b"2\n")
        assert reading.turn(turns=2).turn(4.0, turns=2).text == b"1\nhalf\n2\n"

    def test_line_with_nul_bytes_in_it(self, follow: Follow, log: Path):
        """A crash leaves them within a line. It ends there, and positions still match the file."""
        append(log, b"1\nhalf" + bytes(100) + b"3\n")
        reading = follow(log, run_id="r").turn().turn(4.0, turns=2).restart()
        append(log, b"4\n")
        assert reading.turn(turns=2).text == b"1\nhalf\n3\n4\n"

    def test_what_is_no_log(self, follow: Follow, log: Path):
        """Captures, memory dumps and the files of editors beside the logs are reported once and not sent."""
        append(log, b"1\n")
        append(log.with_name("ue.pcap"), b"\xd4\xc3\xb2\xa1")
        append(log.with_name("dump"), b"\x7fELF\x02")
        append(log.with_name(".tm500.log.swp"), b"b0VIM 9.0")
        reading = follow(log.parent).turn(turns=3)
        append(log.with_name("dump"), b"more")
        assert reading.turn(turns=2).text == b"1\n"
        assert len(reading.problems) == 3

    def test_positions_of_an_older_shipper(self, follow: Follow, log: Path):
        """They have no checksum of the whole and no birth time. Nothing is sent again."""
        append(log, b"1\n2\n")
        status = log.stat()
        name = f"{status.st_dev}:{status.st_ino}"
        reading = follow(log)
        reading.positions[name] = {
            **{"id": name, "base": str(log), "offset": 2, "done": False, "mtime": status.st_mtime},
            **{"head": [2, zlib.crc32(b"1\n")], "key": "host:log", "token": "abc", "source": "tm500.log"},
        }
        reading.restart().turn()
        assert reading.texts() == {"host:log#abc": b"2\n"}
        (position,) = reading.positions.values()
        assert position["crc"] == zlib.crc32(b"1\n2\n")

    def test_number_at_the_end_of_a_name(self, follow: Follow, tmp_path: Path):
        """It is no rotation if there is no file without the number."""
        append(tmp_path / "night.1", b"1\n")
        append(tmp_path / "night.2", b"2\n")
        reading = follow(tmp_path).turn().turn(9.0)
        append(tmp_path / "night.1", b"3\n")
        assert sorted(reading.turn().texts().values()) == [b"1\n3\n", b"2\n"]
        assert {chunk.source for chunk in reading.chunks} == {"night.1", "night.2"}

    def test_modification_time_in_the_future(self, follow: Follow, log: Path):
        """It does not count: a run is quiet by the shipper's own clock."""
        append(log, b"1\n")
        os.utime(log, (4e9, 4e9))
        reading = follow(log, run_id="r", idle_end_seconds=5.0).turn()
        append(log, b"2\n")
        os.utime(log, (1e6, 1e6))
        assert reading.turn(4.0).text == b"1\n2\n"
        assert not any(chunk.end for chunk in reading.chunks)
        assert reading.turn(6.0).chunks[-1].end

    def test_file_without_permission(self, follow: Follow, log: Path, monkeypatch: pytest.MonkeyPatch):
        """It is reported once, and read when it can be."""
        append(log, b"1\n")
        opened = os.open
        monkeypatch.setattr(os, "open", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        reading = follow(log, run_id="r").turn(turns=3)
        assert reading.problems == [f"{log} cannot be read: Permission denied; it is tried again"]
        monkeypatch.setattr(os, "open", opened)
        assert reading.turn().text == b"1\n"

    @pytest.mark.parametrize("seed", range(12))
    def test_random_history(self, follow: Follow, log: Path, seed: int):
        """Growth, rotations, restarts and pauses in random order: every line comes once, in order."""
        rng, written = random.Random(seed), 0
        reading = follow(log, run_id="r")
        file, rotations = log.open("ab"), 0

        def write() -> None:
            nonlocal written
            for _ in range(rng.randrange(6)):
                file.write(b"%d %s\n" % (written, b"x" * rng.randrange(90)))
                written += 1
            file.flush()

        for _ in range(150):
            event = rng.random()
            write()
            if event < 0.5:
                reading.turn(rng.choice((0.1, 1.0, 4.0)))
            elif event < 0.65:
                reading.restart()
            elif event < 0.75 and log.stat().st_size:
                for number in range(rotations, 0, -1):
                    log.with_name(f"tm500.log.{number}").rename(log.with_name(f"tm500.log.{number + 1}"))
                log.rename(log.with_name("tm500.log.1"))
                write()
                file.close()
                file, rotations = log.open("ab"), rotations + 1
        file.close()
        reading.turn(4.0, turns=2 * rotations + 4)
        assert [int(line.split()[0]) for line in reading.text.splitlines()] == list(range(written))
