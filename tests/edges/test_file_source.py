"""Files, folders, patterns and archives as sources: what is a run, what is skipped, and what damage does."""

import bz2
import gzip
import io
import itertools
import lzma
import os
import random
import socket
import struct
import subprocess
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.files import plaintext
from stream_triage.files.naming import natural_key, ordered_parts, part_of, shown_name
from stream_triage.ports import Source
from stream_triage.records import Chunk, Event, Problem, RunEnd
from stream_triage.settings import InputSettings
from stream_triage.sources.file import FileSource
from tests.edges.source_contract import SourceContract, collect, finished, problems, texts

BY_FOLDER = InputSettings(run_by="folder")
STRICT = InputSettings(max_expansion=20, expansion_floor_bytes=100_000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
# Lines that compress badly, so that damage in the middle of the packed bytes is damage in the middle of the text.
TEXT = b"".join(b"%d %s\n" % (number, sha256(b"%d" % number).hexdigest().encode()) for number in range(3000))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(*paths: str, settings: InputSettings | None = None) -> list[Event]:
    return collect(FileSource(paths, settings or InputSettings()))


def runs(events: list[Event]) -> dict[str, bytes]:
    """Text by run path, for runs of one file."""
    return {path: text for (path, _), text in texts(events).items()}


def make_zip(path: str, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)


def zip_with_method(method: int, packed: bytes, text: bytes) -> bytes:
    """A zip archive with one member, x.log, which was packed by a method that zipfile may not know."""
    checksum, sizes = zlib.crc32(text), (len(packed), len(text))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 63, 0, method, 0, 33, checksum, *sizes, 5, 0) + b"x.log" + packed
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 63, 63, 0, method, 0, 33, checksum, *sizes, 5, 0, 0, 0, 0, 0, 0)
    entry += b"x.log"
    return local + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)


def tar_bytes(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class TestFileContract(SourceContract):
    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        put({f"logs/run{number}.log": content for number, content in enumerate(contents)})
        return FileSource(["logs"], InputSettings())

    def unreadable(self, tmp_path: Path) -> Source:
        return FileSource(["missing.log"], InputSettings())


class TestArchiveContract(SourceContract):
    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        members = [(f"run{number}.log", content) for number, content in enumerate(contents)]
        put({"a.tar.gz": gzip.compress(tar_bytes(members))})
        return FileSource(["a.tar.gz"], InputSettings())

    def unreadable(self, tmp_path: Path) -> Source:
        put({"a.zip": b"PK\x03\x04 no directory"})
        return FileSource(["a.zip"], InputSettings())


class TestWhatIsRead:
    def test_a_file_is_a_run(self) -> None:
        """Its end has the path as given and the hash of all of its bytes, as `sha256sum` prints it."""
        put({"a/b.log": TEXT})
        (end,) = (event for event in read("./a//b.log") if isinstance(event, RunEnd))
        assert (end.run_id, end.path) == ("a/b.log#", "a/b.log")
        assert end.content == sha256(TEXT).hexdigest()
        assert end.head == sha256(TEXT[:4096]).hexdigest()[:8]

    def test_folder_in_natural_order(self) -> None:
        """Folders are read with all below, run2 before run10."""
        put({f"logs/run{number}/x.log": b"%d" % number for number in (10, 2, 1)} | {"logs/a.log": b"a"})
        assert list(runs(read("logs"))) == ["logs/a.log", "logs/run1/x.log", "logs/run2/x.log", "logs/run10/x.log"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("logs/*.log", ["logs/a.log", "logs/b.log"]),
            ("logs/**/*.log", ["logs/a.log", "logs/b.log", "logs/deep/er/c.log"]),
            ("**/c.log", ["logs/deep/er/c.log"]),
            ("logs/**", ["logs/a.log", "logs/b.log", "logs/deep/er/c.log", "logs/note.txt"]),
            ("logs/[b-z].log", ["logs/b.log"]),
            ("logs/[!b].log", ["logs/a.log"]),
            ("l*s/d?ep", ["logs/deep/er/c.log"]),
            ("./logs//deep/../*.txt", ["logs/deep/../note.txt"]),
            ("*/deep/er/c.log", ["logs/deep/er/c.log"]),
            ("**/**", ["logs/a.log", "logs/b.log", "logs/deep/er/c.log", "logs/note.txt"]),
        ],
    )
    def test_patterns(self, pattern: str, expected: list[str]) -> None:
        """A pattern that the shell did not expand means what the shell would make of it."""
        put(dict.fromkeys(("logs/a.log", "logs/b.log", "logs/deep/er/c.log", "logs/note.txt"), b"x"))
        events = read(pattern)
        assert list(runs(events)) == expected
        assert not problems(events)

    def test_patterns_in_natural_order(self) -> None:
        """Numbers are ordered by value, and the files of a folder come before those of its folders."""
        put({f"logs/{name}.log": b"x" for name in ("10", "9", "a/1", "a/b/1", "b/1")})
        expected = ["logs/9.log", "logs/10.log", "logs/a/1.log", "logs/a/b/1.log", "logs/b/1.log"]
        assert list(runs(read("logs/**/*.log"))) == expected

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", ["a.log"]),
            ("**/*.log", ["a.log"]),
            (".*", [".b.log", ".git/c.log"]),
            (".*/*", [".git/c.log"]),
            ("[.]*", []),
        ],
    )
    def test_only_a_dot_matches_a_hidden_name(self, pattern: str, expected: list[str]) -> None:
        put(dict.fromkeys(("a.log", ".b.log", ".git/c.log"), b"x"))
        assert list(runs(read(pattern))) == expected

    @pytest.mark.parametrize("pattern", ["{a,b}.log", "@(a|b).log", "!a.log", "a\\.lo?", "~/a.lo?"])
    def test_what_is_no_pattern(self, pattern: str) -> None:
        """Braces, groups, negation, escapes and the home folder have no meaning; only a file of that name is read."""
        put({"a.log": b"x", "b.log": b"x"})
        assert not runs(read(pattern))
        put({pattern.replace("?", "g"): b"x"})
        assert list(runs(read(pattern))) == [shown_name(pattern.replace("?", "g"))]

    def test_stars_do_not_follow_links_to_folders(self) -> None:
        """`**` does not, so that it ends; `*` does."""
        put({"logs/a/x.log": b"x", "other/y.log": b"y"})
        Path("logs/link").symlink_to("../other")
        assert list(runs(read("logs/**/*.log"))) == ["logs/a/x.log"]
        assert list(runs(read("logs/*/*.log"))) == ["logs/a/x.log", "logs/link/y.log"]

    def test_folders_named_in_a_pattern_need_not_be_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only folders at and below the first wildcard are read: the others may be large, or closed to this user."""
        put({"farm/logs/a.log": b"x"})
        scanned: list[str] = []
        scan = os.scandir

        def watched(path: Any) -> Any:
            scanned.append(str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", watched)
        assert list(runs(read("farm/logs/*.log"))) == ["farm/logs/a.log"]
        assert scanned == ["farm/logs"]

    def test_a_file_may_look_like_a_pattern(self) -> None:
        """What exists is read, whatever its name."""
        put({"run[1].log": b"x"})
        assert list(runs(read("run[1].log"))) == ["run[1].log"]

    def test_each_file_once(self) -> None:
        """Two arguments that lead to one file give one run."""
        put({"logs/a.log": b"a", "logs/b.log": b"b"})
        Path("also.log").symlink_to("logs/a.log")
        events = read("logs/b.log", "logs", "logs/*.log", str(Path("logs/a.log").absolute()), "also.log")
        assert list(runs(events)) == ["logs/b.log", "logs/a.log"]
        assert not problems(events)

    def test_hard_links_are_runs_of_their_own(self) -> None:
        """Backups by hard link keep equal logs of different runs in one folder."""
        put({"logs/a.log": b"a"})
        os.link("logs/a.log", "logs/b.log")
        assert list(runs(read("logs"))) == ["logs/a.log", "logs/b.log"]

    def test_links_give_way_to_files(self) -> None:
        """A file goes by its own name, not by that of a link beside it."""
        put({"logs/run7.log": b"x"})
        Path("logs/latest.log").symlink_to("run7.log")
        assert list(runs(read("logs"))) == ["logs/run7.log"]

    @pytest.mark.parametrize("path", ["logs", "logs/**/*.log", "**"])
    def test_link_circles_end(self, path: str) -> None:
        """Links that lead back up, several and crossing, neither hang nor repeat."""
        put({f"logs/{name}/{name}.log": b"x" for name in "abc"})
        for name in "abc":
            for other in "abc":
                Path(f"logs/{name}/to-{other}").symlink_to(f"../{other}")
            Path(f"logs/{name}/up").symlink_to("..")
        Path("logs/self").symlink_to("self")
        assert sorted(runs(read(path))) == ["logs/a/a.log", "logs/b/b.log", "logs/c/c.log"]

    def test_deep_folders(self) -> None:
        """Folders nested deeper than Python's calls may be are walked."""
        here = os.open(".", os.O_RDONLY)
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        put({"deep.log": b"x"})
        os.fchdir(here)
        os.close(here)
        for path in ("d", "d/**/*.log"):
            assert [path.rpartition("/")[2] for path in runs(read(path))] == ["deep.log"]
        subprocess.run(["rm", "-r", "d"], check=True)  # pytest cannot: it calls itself for each level

    def test_empty_file_is_a_run(self) -> None:
        """An empty log deserves a verdict too."""
        put({"a.log": b"", "b.log.gz": gzip.compress(b"")})
        assert runs(read("a.log", "b.log.gz")) == {"a.log": b"", "b.log.gz": b""}

    @pytest.mark.parametrize("chunk_bytes", [4096, 5000, 70_001])
    def test_chunk_size_changes_nothing(self, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ids and text do not depend on how files are cut into chunks."""
        put({"a.log": TEXT, "b.log.gz": gzip.compress(TEXT), "c.log": TEXT.decode().encode("utf-16")})
        expected = read("a.log", "b.log.gz")
        monkeypatch.setattr(plaintext, "CHUNK_BYTES", chunk_bytes)
        events = read("a.log", "b.log.gz")
        assert texts(events) == texts(expected)
        assert [e for e in events if isinstance(e, RunEnd)] == [e for e in expected if isinstance(e, RunEnd)]

    def test_named_pipe(self) -> None:
        """A pipe named itself is read like standard input."""
        os.mkfifo("pipe")
        writer = threading.Thread(target=lambda: Path("pipe").write_bytes(TEXT))
        writer.start()
        source = FileSource(["pipe"], InputSettings())
        events = collect(source)
        writer.join()
        assert runs(events) == {"pipe": TEXT}
        assert source.total_bytes is None

    def test_progress(self) -> None:
        """The bar starts at nothing and is full in the end, whatever was in the files."""
        put({"logs/a.log": TEXT, "logs/b.log.gz": gzip.compress(TEXT), "logs/c.png": PNG, "logs/d.log": b""})
        source = FileSource(["logs"], InputSettings())
        assert (source.read_bytes, source.total_bytes) == (0, None)
        seen: list[int] = []
        source.run(lambda event: seen.append(source.read_bytes))
        assert seen == sorted(seen)
        assert source.total_bytes == sum(path.stat().st_size for path in Path("logs").iterdir())
        assert source.read_bytes == source.total_bytes

    def test_progress_in_archives(self) -> None:
        """An archive counts with its packed size."""
        make_zip("a.zip", [("x.log", b"x")])
        source = FileSource(["a.zip"], InputSettings())
        collect(source)
        assert source.read_bytes == source.total_bytes == Path("a.zip").stat().st_size


class TestEncodings:
    @pytest.mark.parametrize("mark", [b"", b"\xff\xfe", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-8", "gb18030"])
    def test_text_in_any_encoding_passes_unchanged(self, encoding: str, mark: bytes) -> None:
        """The bytes are decoded in the pipeline, as those of a pipe or a topic."""
        text = mark + ("15:33:03 Störung: 测试床不可用\r\n" * 3000).encode(encoding, "ignore")
        put({"a.log": text})
        assert runs(read("a.log")) == {"a.log": text}

    def test_set_encoding_in_which_text_looks_binary(self) -> None:
        """EBCDIC has control characters where ASCII has letters."""
        text = ("started\n" * 500).encode("cp037")
        put({"a.log": text})
        assert runs(read("a.log", settings=InputSettings(encoding="cp037"))) == {"a.log": text}

    @pytest.mark.parametrize("size", [64, 700, 10_000, 200_000])
    def test_text_after_nuls(self, size: int) -> None:
        """A crash left NULs at the beginning of the file."""
        put({"a.log": bytes(size) + b"booted\n" * 100, "b.log": bytes(size)})
        events = read("a.log", "b.log")
        assert runs(events) == {"a.log": bytes(size) + b"booted\n" * 100}
        (problem,) = problems(events)
        assert (problem.path, problem.error) == ("b.log", True)

    def test_parts_in_utf16_are_joined_at_a_line_end(self) -> None:
        """A part without a line end at its end gets one in its own encoding."""
        put({"r/a.log.1": "one line".encode("utf-16-le"), "r/a.log": "two\n".encode("utf-16-le")})
        events = read("r", settings=InputSettings(run_by="folder"))
        assert list(texts(events).values()) == ["one line\ntwo\n".encode("utf-16-le")]

    @pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xff\xfe"])
    def test_a_mark_alone_is_an_empty_log(self, content: bytes) -> None:
        """There is nothing but the mark."""
        put({"a.log": content})
        assert runs(read("a.log")) == {"a.log": content}

    @pytest.mark.parametrize(
        "text",
        [
            "Ошибка соединения\n".encode("cp1251") * 50,
            b"\x1b[31mERROR\x1b[0m\n" * 50,
            b"line\n" * 100 + bytes(40) + b"line\n" * 10,
            b"line\n" * 100 + bytes(5000) + b"line\n" * 10,
            b"BZhit is not bz2\n",
            b"x",
        ],
        ids=["8-bit", "colours", "some NULs", "a gap", "magic by chance", "one byte"],
    )
    def test_unusual_text_is_text(self, text: bytes) -> None:
        """Other alphabets, colours and a few NULs pass unchanged."""
        put({"a.log": text})
        assert runs(read("a.log")) == {"a.log": text}


NO_LOGS = {
    "elf": b"\x7fELF" + b"x" * 500,
    "core": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0" + bytes(400),
    "png": PNG,
    "pdf": b"%PDF-1.7\n" + b"x" * 500,
    "pcap": b"\xd4\xc3\xb2\xa1" + b"x" * 500,
    "pcapng": b"\n\r\r\n\x1c\0\0\0\x4d\x3c\x2b\x1a" + b"x" * 500,
    "vim": b"b0VIM 9.0" + bytes(500),
    "sqlite": b"SQLite format 3\x00" + b"x" * 500,
    "docx": b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml" + b"x" * 500,
}
UNREADABLE = {
    "7z": b"7z\xbc\xaf\x27\x1c" + b"x" * 500,
    "lz4": b"\x04\x22\x4d\x18" + b"x" * 500,
    "journal": b"LPKSHHRH" + bytes(500),
    "nul": b"xxxx\0" * 100,
    "numbers": struct.pack("<500H", *range(500, 1000)),
    "samples": struct.pack("<2000h", *random.Random(2).choices(range(-90, 90), k=2000)),
    "random": random.Random(1).randbytes(9000),
    "zip": b"PK\x03\x04" + b"x" * 500,
}


class TestSkipped:
    @pytest.mark.parametrize("kind", NO_LOGS)
    def test_what_is_certainly_no_log(self, kind: str) -> None:
        """It is passed over: with a note below a folder, with an error if the file itself was given."""
        put({"logs/a.log": b"a", "logs/b": NO_LOGS[kind]})
        events = read("logs")
        assert runs(events) == {"logs/a.log": b"a"}
        assert [(p.path, p.error, p.run_id) for p in problems(events)] == [("logs/b", False, None)]
        events = read("logs/b", "logs/a.log")
        assert runs(events) == {"logs/a.log": b"a"}
        assert [(p.path, p.error, p.run_id) for p in problems(events)] == [("logs/b", True, None)]

    @pytest.mark.parametrize("kind", UNREADABLE)
    @pytest.mark.parametrize("where", ["logs", "logs.tar", "logs.zip"])
    def test_what_may_be_a_log(self, kind: str, where: str) -> None:
        """What cannot be read and is not certainly something else is an error, wherever it lies."""
        members = [("a.log", b"a"), ("b", UNREADABLE[kind])]
        put({f"logs/{name}": content for name, content in members} | {"logs.tar": tar_bytes(members)})
        make_zip("logs.zip", members)
        events = read(where)
        assert list(runs(events).values()) == [b"a"]
        (problem,) = problems(events)
        assert (problem.path.replace("!", ""), problem.error, problem.run_id) == (f"{where}/b", True, None)

    def test_hidden_files_and_folders(self) -> None:
        """Hidden ones are skipped below a folder, and read if they are given."""
        put({"logs/a.log": b"a", "logs/.b.log": b"b", "logs/.git/c.log": b"c"})
        events = read("logs")
        assert list(runs(events)) == ["logs/a.log"]
        assert {p.path: p.error for p in problems(events)} == {"logs/.b.log": False, "logs/.git": False}
        assert list(runs(read("logs/.b.log"))) == ["logs/.b.log"]

    def test_devices_pipes_and_sockets(self) -> None:
        """They are not opened: a pipe in a folder would wait for ever."""
        put({"logs/a.log": b"a"})
        os.mkfifo("logs/pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("logs/socket")
            events = read("logs", "/dev/zero")
        assert list(runs(events)) == ["logs/a.log"]
        assert {p.path: p.error for p in problems(events)} == {
            "logs/pipe": False,
            "logs/socket": False,
            "/dev/zero": True,
        }

    def test_dangling_links(self) -> None:
        """A link to nothing is a note below a folder, and an error if it is given."""
        put({"logs/a.log": b"a"})
        Path("logs/gone.log").symlink_to("nowhere")
        assert [(p.reason, p.error) for p in problems(read("logs"))] == [("is a link to nothing", False)]
        assert [(p.reason, p.error) for p in problems(read("logs/gone.log"))] == [("is a link to nothing", True)]

    @pytest.mark.parametrize("path", ["empty", "pictures", "nothing*", "pict*", "e.zip", "e.tar", "p.zip"])
    def test_nothing_to_read(self, path: str) -> None:
        """A folder, pattern or archive without logs is an error that says so."""
        put({"pictures/a.png": PNG})
        Path("empty").mkdir()
        make_zip("e.zip", [])
        make_zip("p.zip", [("a.png", PNG)])
        put({"e.tar": tar_bytes([])})
        errors = [p for p in problems(read(path)) if p.error]
        assert [(p.path, p.reason) for p in errors] == [(path, "contains no logs")]

    @pytest.mark.parametrize("path", ["missing.log", "a.log/below", "nul\0byte", ""])
    def test_missing_paths(self, path: str) -> None:
        """What is not there is an error, and the others are read."""
        put({"a.log": b"a"})
        events = read(path, "a.log")
        assert runs(events) == {"a.log": b"a"}
        assert [(p.error, p.run_id) for p in problems(events)] == [(True, None)]

    def test_no_permission(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files and folders that may not be read are errors, also below a folder; the others are read."""
        put({"logs/a.log": b"a", "logs/b.log": b"b", "logs/sub/c.log": b"c"})
        scan = os.scandir

        # Tests may run as root, who may read everything.
        def denied_open(path: Any, *args: Any, **kwargs: Any) -> Any:
            if str(path).endswith("b.log"):
                raise PermissionError(13, "Permission denied", str(path))
            return open(path, *args, **kwargs)

        def denied_scan(path: Any) -> Any:
            if str(path).endswith("sub"):
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr("stream_triage.files.unpack.open", denied_open, raising=False)
        monkeypatch.setattr(os, "scandir", denied_scan)
        events = read("logs")
        assert runs(events) == {"logs/a.log": b"a"}
        reason = "cannot be read: Permission denied"
        assert {(p.path, p.reason, p.error) for p in problems(events)} == {
            ("logs/b.log", reason, True),
            ("logs/sub", reason, True),
        }

    @pytest.mark.parametrize("name", [b"a\n\x1b[31m.log", b"a\xff.log", "a\u202egol.exe".encode()])
    def test_hostile_names(self, name: bytes) -> None:
        """Ids and problems carry no control characters, stray bytes or direction marks."""
        Path("logs").mkdir()
        Path("logs", os.fsdecode(name)).write_bytes(b"x")
        Path("logs", os.fsdecode(b"png" + name)).write_bytes(PNG)
        events = read("logs")
        (run,) = {event.run_id for event in events if isinstance(event, Chunk)}
        assert run.isprintable()
        assert "\\" in run
        assert "\\" in problems(events)[0].path


class TestCompressed:
    @pytest.mark.parametrize("suffix", COMPRESS)
    def test_unpacked(self, suffix: str) -> None:
        """The run is what is in the file; several streams in a row and padding belong to it."""
        compress = COMPRESS[suffix]
        put({f"a.log.{suffix}": compress(TEXT[:70_000]) + compress(TEXT[70_000:]) + bytes(512)})
        events = read(f"a.log.{suffix}")
        assert runs(events) == {f"a.log.{suffix}": TEXT}
        assert events[-1] == finished(f"a.log.{suffix}", _=TEXT)
        assert not problems(events)

    @pytest.mark.parametrize("suffix", COMPRESS)
    def test_content_decides(self, suffix: str) -> None:
        """Packed text under a plain name is unpacked, plain text under a packed name is read."""
        put({"a.log": COMPRESS[suffix](TEXT), f"b.log.{suffix}": TEXT})
        assert runs(read("a.log", f"b.log.{suffix}")) == {"a.log": TEXT, f"b.log.{suffix}": TEXT}

    @pytest.mark.parametrize("suffix", COMPRESS)
    @pytest.mark.parametrize("cut", [1, 4, 200, 30_000])
    def test_cut_off(self, suffix: str, cut: int) -> None:
        """What could be read stays a run; the problem names it and comes before its end."""
        put({f"a.log.{suffix}": COMPRESS[suffix](TEXT)[:-cut]})
        events = read(f"a.log.{suffix}")
        got = runs(events).get(f"a.log.{suffix}", b"")
        assert TEXT.startswith(got)
        (problem,) = problems(events)
        assert "cut off" in problem.reason
        if got:
            assert isinstance(events[-2], Problem)
            assert events[-1] == finished(str(problem.run_id).removesuffix("#"), _=got)
        if suffix != "bz2":  # bz2 and zst work in large blocks, of which nothing comes before they are whole
            least = {1: 1.0, 4: 1.0, 200: 0.85, 30_000: 0.4}[cut] if suffix != "zst" else 0.4
            assert len(got) >= least * len(TEXT)

    @pytest.mark.parametrize("length", [10, 3000, len(TEXT)])
    @pytest.mark.parametrize("suffix", ["gz", "xz"])
    def test_wrong_check_sum_costs_no_text(self, suffix: str, length: int) -> None:
        """The text before a wrong check sum is all there."""
        packed = bytearray(COMPRESS[suffix](TEXT[:length]))
        packed[-6 if suffix == "gz" else -10] ^= 0xFF
        put({"a.log": bytes(packed)})
        events = read("a.log")
        assert runs(events) == {"a.log": TEXT[:length]}
        (problem,) = problems(events)
        assert problem.run_id
        assert problem.reason.startswith("damaged")

    def test_garbage_behind_the_end(self) -> None:
        """Bytes that belong to nothing are not dropped silently."""
        put({"a.log.gz": gzip.compress(TEXT) + b"garbage"})
        events = read("a.log.gz")
        assert runs(events) == {"a.log.gz": TEXT}
        assert problems(events)[0].run_id

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08", b"\x00garbage\xff" * 90])
    def test_nothing_readable(self, content: bytes) -> None:
        """A packed file of which nothing can be read is an error without a run, given itself or below a folder."""
        put({"logs/a.log.gz": content})
        for path in ("logs/a.log.gz", "logs"):
            events = read(path)
            assert not runs(events)
            assert [(p.path, p.run_id, p.error) for p in problems(events)] == [("logs/a.log.gz", None, True)]

    def test_xz_that_wants_all_memory(self) -> None:
        """A header that asks for a dictionary of 1.5 GiB is a problem, not a crash."""
        # The encoder would allocate that much itself; so change the header of a small one and its check sum.
        small = bytearray(lzma.compress(b"text\n", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]))
        header = small[12 : 12 + (small[12] + 1) * 4]
        header[4] = 37  # 1.5 GiB
        header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
        small[12 : 12 + len(header)] = header
        put({"a.xz": bytes(small)})
        assert "emory" in problems(read("a.xz"))[0].reason

    @pytest.mark.parametrize("suffix", COMPRESS)
    def test_bomb(self, suffix: str) -> None:
        """Reading stops where the text exceeds the packed size too often; the run is marked and ended."""
        put({f"a.log.{suffix}": COMPRESS[suffix](b"a" * 30_000_000)})
        events = read(f"a.log.{suffix}", settings=STRICT)
        assert len(runs(events)[f"a.log.{suffix}"]) < 20_000_000
        (problem,) = problems(events)
        assert "input.max_expansion = 20" in problem.reason
        assert events[-1] == finished(str(problem.run_id).removesuffix("#"), _=runs(events)[f"a.log.{suffix}"])

    def test_small_files_may_expand(self) -> None:
        """Below the floor the ratio does not count."""
        put({"a.log.gz": gzip.compress(b"a" * 100_000)})
        assert not problems(read("a.log.gz", settings=STRICT))

    def test_read_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A disk that fails in the middle of a file leaves a marked run."""
        put({"a.log": TEXT})

        class Failing(io.FileIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell():
                    raise OSError(5, "Input/output error")
                return super().read(size) or b""

        monkeypatch.setattr("stream_triage.files.unpack.open", lambda path, *_, **__: Failing(path), raising=False)
        events = read("a.log")
        assert runs(events) == {"a.log": TEXT[:65536]}
        assert "Input/output error" in problems(events)[0].reason
        assert problems(events)[0].run_id


TAR_SUFFIXES: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.xz": lzma.compress,
    ".tar.bz2": bz2.compress,
    ".tar.zst": zstandard.compress,
}


class TestArchives:
    MEMBERS: ClassVar = [("./m/x.log", TEXT), ("/m/y.log.gz", gzip.compress(b"packed")), ("top.log", b"")]
    EXPECTED: ClassVar = {"m/x.log": TEXT, "m/y.log.gz": b"packed", "top.log": b""}

    @pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
    @pytest.mark.parametrize("suffix", [".zip", *TAR_SUFFIXES])
    def test_members(self, suffix: str, settings: InputSettings) -> None:
        """Members are read like files, packed ones unpacked; their folders act like folders."""
        name = f"a{suffix}"
        if suffix == ".zip":
            make_zip(name, self.MEMBERS)
        else:
            put({name: TAR_SUFFIXES[suffix](tar_bytes(self.MEMBERS))})
        events = read(name, settings=settings)
        assert not problems(events)
        if settings is BY_FOLDER:
            assert texts(events) == {(f"{name}!/m", "x"): TEXT, (f"{name}!/m", "y"): b"packed", (name, "top"): b""}
        else:
            assert runs(events) == {f"{name}!/{member}": text for member, text in self.EXPECTED.items()}
            assert finished(f"{name}!/m/x.log", _=TEXT) in events

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_zip_methods(self, method: int) -> None:
        """All usual methods are read."""
        make_zip("a.zip", [("x.log", TEXT)], method)
        assert runs(read("a.zip")) == {"a.zip!/x.log": TEXT}

    @pytest.mark.parametrize(("method", "compress"), [(93, zstandard.compress), (95, lzma.compress)])
    def test_newer_zip_methods(self, method: int, compress: Callable[[bytes], bytes]) -> None:
        """Zstandard and xz, which zipfile cannot read."""
        put({"a.zip": zip_with_method(method, compress(TEXT), TEXT)})
        assert runs(read("a.zip")) == {"a.zip!/x.log": TEXT}

    def test_lzma_without_end_mark(self) -> None:
        """The directory says how long the text is; LZMA in a zip archive may leave its end mark out."""
        filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}]
        marked = lzma.compress(TEXT, lzma.FORMAT_RAW, filters=filters)
        header = b"\x09\x04\x05\0\x5d\0\0\x01\0"
        put({"a.zip": zip_with_method(14, header + marked[:-6], TEXT), "b.zip": zip_with_method(14, header + marked, TEXT)})
        for name in ("a.zip", "b.zip"):
            events = read(name)
            assert runs(events) == {f"{name}!/x.log": TEXT}
            assert not problems(events)

    def test_lzma_that_wants_all_memory(self) -> None:
        """A dictionary of 4 GiB is a problem, not a crash."""
        put({"a.zip": zip_with_method(14, b"\x09\x04\x05\0\x5d\xff\xff\xff\xff" + b"x" * 100, TEXT)})
        events = read("a.zip")
        assert not runs(events)
        assert "dictionary" in problems(events)[0].reason

    def test_unsupported_zip_method(self) -> None:
        """An unknown method is an error of that member alone."""
        put({"a.zip": zip_with_method(9, b"?", TEXT)})
        with zipfile.ZipFile("a.zip", "a") as archive:
            archive.writestr("y.log", b"y")
        events = read("a.zip")
        assert runs(events) == {"a.zip!/y.log": b"y"}
        assert "method 9" in problems(events)[0].reason

    @pytest.mark.parametrize("suffix", [".zip", ".tar"])
    def test_passed_over(self, suffix: str) -> None:
        """Pictures and hidden files are reported as notes, once each."""
        members = [("a.png", PNG), (".b.log", b"b"), ("e.log", b"e")]
        if suffix == ".zip":
            make_zip("a.zip", members)
        else:
            put({"a.tar": tar_bytes(members)})
        events = read(f"a{suffix}")
        assert runs(events) == {f"a{suffix}!/e.log": b"e"}
        assert {(p.path, p.error) for p in problems(events)} == {
            (f"a{suffix}!/{name}", False) for name in ("a.png", ".b.log")
        }

    @pytest.mark.parametrize("suffix", [".zip", ".tar"])
    def test_equal_names(self, suffix: str) -> None:
        """The second member of a name gets an id of its own, even when its content is the same."""
        members = [("x.log", b"1"), ("x.log", b"1"), ("./x.log", b"2"), ("x.log~2", b"3")]
        if suffix == ".zip":
            with pytest.warns(UserWarning, match="Duplicate"):
                make_zip("a.zip", members)
        else:
            put({"a.tar": tar_bytes(members)})
        assert sorted(runs(read(f"a{suffix}")).values()) == [b"1", b"1", b"2", b"3"]
        assert f"a{suffix}!/x.log~2" in runs(read(f"a{suffix}"))

    def test_encrypted_zip(self) -> None:
        """An encrypted member is an error that says so; the others are read."""
        make_zip("a.zip", [("x.log", b"x"), ("y.log", b"y")])
        data = bytearray(Path("a.zip").read_bytes())
        data[6] |= 1  # the local header of the first member
        data[data.index(b"PK\x01\x02") + 8] |= 1  # and its line in the directory
        put({"a.zip": bytes(data)})
        events = read("a.zip")
        assert runs(events) == {"a.zip!/y.log": b"y"}
        assert "encrypted" in problems(events)[0].reason

    @pytest.mark.parametrize("length", [20, len(TEXT)])
    def test_damaged_zip_member(self, length: int) -> None:
        """A wrong check sum marks the run of that member, whose text is all there."""
        make_zip("a.zip", [("x.log", TEXT[:length]), ("y.log", b"y")], zipfile.ZIP_STORED)
        data = bytearray(Path("a.zip").read_bytes())
        data[data.index(TEXT[:20])] ^= 1
        put({"a.zip": bytes(data)})
        events = read("a.zip")
        assert runs(events) == {"a.zip!/x.log": bytes([TEXT[0] ^ 1]) + TEXT[1:length], "a.zip!/y.log": b"y"}
        (problem,) = problems(events)
        assert "CRC" in problem.reason
        assert problem.run_id

    def test_truncated_zip(self) -> None:
        """Without its directory, at the end, a zip archive cannot be read."""
        make_zip("a.zip", [("x.log", TEXT)])
        put({"a.zip": Path("a.zip").read_bytes()[:-30]})
        events = read("a.zip")
        assert not runs(events)
        assert [(p.error, p.run_id) for p in problems(events)] == [(True, None)]

    @pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
    @pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
    def test_truncated_tar(self, suffix: str, settings: InputSettings) -> None:
        """Members before the cut are whole, the one at the cut is marked, and the missing rest is an error."""
        packed = TAR_SUFFIXES[suffix](tar_bytes([("a.log", TEXT), ("b/b.log", TEXT), ("c/c.log", TEXT)]))
        put({f"a{suffix}": packed[: len(packed) // 2]})
        events = read(f"a{suffix}", settings=settings)
        first, second = runs(events).values()
        assert first == TEXT
        assert TEXT.startswith(second)
        assert len(second) > len(TEXT) / 3
        marked = [p for p in problems(events) if p.run_id]
        assert [p.path for p in marked] == [f"a{suffix}!/b/b.log"]
        assert [p.path for p in problems(events) if not p.run_id] == [f"a{suffix}"]

    def test_tar_without_end(self) -> None:
        """A tar archive cut between two members is noticed by its missing end mark."""
        put({"a.tar": tar_bytes([("a.log", b"a"), ("b.log", b"b")])[:1024]})
        events = read("a.tar")
        assert runs(events) == {"a.tar!/a.log": b"a"}
        assert "end mark" in problems(events)[0].reason

    def test_tar_with_damaged_header(self) -> None:
        """A damaged header ends the archive visibly."""
        data = bytearray(tar_bytes([("a.log", b"a"), ("b.log", b"b")]))
        data[1024 + 150] ^= 0xFF
        put({"a.tar": bytes(data)})
        events = read("a.tar")
        assert runs(events) == {"a.tar!/a.log": b"a"}
        assert "header" in problems(events)[0].reason

    def test_tar_gz_with_wrong_check_sum(self) -> None:
        """The check sum at the end is checked although tar needs nothing from there."""
        packed = bytearray(gzip.compress(tar_bytes([("a.log", b"a")])))
        packed[-6] ^= 0xFF
        put({"a.tar.gz": bytes(packed)})
        events = read("a.tar.gz")
        assert runs(events) == {"a.tar.gz!/a.log": b"a"}
        assert [(p.path, p.error) for p in problems(events)] == [("a.tar.gz", True)]

    @pytest.mark.parametrize("size", [1 << 62, -512], ids=["exabytes", "negative"])
    def test_tar_with_impossible_sizes(self, size: int) -> None:
        """A member that claims exabytes, or less than nothing, ends the archive and hangs nothing."""
        header = tarfile.TarInfo("big.log")
        header.size = size
        data = tar_bytes([("a.log", b"a")])[:1024] + header.tobuf(tarfile.GNU_FORMAT) + TEXT
        for name, content in (("a.tar", data), ("b.tar.gz", gzip.compress(data))):
            put({name: content})
            for settings in (InputSettings(), BY_FOLDER):
                events = read(name, settings=settings)
                assert b"a" in b"".join(runs(events).values())
                assert any(p.error for p in problems(events))

    def test_names_that_lead_out(self) -> None:
        """Members are never written anywhere; their names are only shown."""
        put({"a.tar": tar_bytes([("../../etc/x.log", b"x"), ("/abs\x1b.log", b"y")])})
        assert list(runs(read("a.tar"))) == ["a.tar!/../../etc/x.log", "a.tar!/abs\\x1b.log"]

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [(STRICT, "input.max_expansion = 20"), (InputSettings(), "more than the archive's directory says")],
    )
    def test_zip_bomb_that_declares_little(self, settings: InputSettings, reason: str) -> None:
        """The real size counts: reading stops where a member exceeds what the directory declares."""
        make_zip("a.zip", [("x.log", b"a" * 3_000_000), ("y.log", b"y")])
        data = bytearray(Path("a.zip").read_bytes())
        entry = data.index(b"PK\x01\x02")
        data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
        put({"a.zip": bytes(data)})
        events = read("a.zip", settings=settings)
        problem = problems(events)[0]
        assert reason in problem.reason
        assert problem.run_id
        assert len(runs(events)["a.zip!/x.log"]) < 700_000

    def test_zip_bomb_by_declaration(self) -> None:
        """A member that declares too much is not opened; the others are read."""
        make_zip("a.zip", [("x.log", b"a" * 3_000_000), ("y.log", b"y")])
        events = read("a.zip", settings=STRICT)
        assert runs(events) == {"a.zip!/y.log": b"y"}
        assert [(p.path, p.run_id, p.error) for p in problems(events)] == [("a.zip!/x.log", None, True)]
        assert "input.max_expansion" in problems(events)[0].reason

    def test_zip_of_many_small_bombs(self) -> None:
        """Members that are harmless one by one are counted together."""
        make_zip("a.zip", [(f"{number}.log", b"a" * 90_000) for number in range(30)])
        events = read("a.zip", settings=STRICT)
        assert len([p for p in problems(events) if "input.max_expansion" in p.reason]) == 1
        assert len(runs(events)) < 30

    @pytest.mark.parametrize("settings", [STRICT, STRICT.model_copy(update={"run_by": "folder"})], ids=["file", "folder"])
    def test_tar_bomb(self, settings: InputSettings) -> None:
        """For tar, the whole archive's ratio counts; the member at which it trips is marked."""
        put({"a.tar.gz": gzip.compress(tar_bytes([("a/x.log", b"x"), ("b/y.log", b"y" * 9_000_000), ("z.log", b"z")]))})
        events = read("a.tar.gz", settings=settings)
        assert sum(map(len, runs(events).values())) < 1_000_000
        assert any("input.max_expansion" in p.reason for p in problems(events) if p.run_id)
        assert any(p.path == "a.tar.gz" and p.error for p in problems(events))

    def test_packed_bomb_in_a_tar(self) -> None:
        """A packed member counts against the whole archive."""
        put({"a.tar": tar_bytes([("x.log.gz", gzip.compress(b"x" * 9_000_000)), ("y.log", b"y")])})
        events = read("a.tar", settings=STRICT)
        assert "input.max_expansion" in problems(events)[0].reason
        assert problems(events)[0].run_id

    @pytest.mark.parametrize("seed", range(150))
    def test_any_damage_is_survived(self, seed: int) -> None:
        """Whatever bytes are changed or missing, nothing raises or hangs, and every run ends."""
        chance = random.Random(seed)
        suffix = chance.choice([".zip", *TAR_SUFFIXES, ".gz", ".zst", ".xz", ".bz2"])
        members = [("m/x.log", TEXT[:9000]), ("m/y.log.gz", gzip.compress(TEXT[:2000])), ("z.log", b"z")]
        if suffix == ".zip":
            make_zip("a.zip", members)
            data = bytearray(Path("a.zip").read_bytes())
        else:
            pack = TAR_SUFFIXES.get(suffix) or COMPRESS[suffix[1:]]
            data = bytearray(pack(tar_bytes(members) if suffix in TAR_SUFFIXES else TEXT[:9000]))
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        put({f"a{suffix}": bytes(data[: chance.randint(len(data) // 2, len(data))])})
        for settings in (InputSettings(), BY_FOLDER):
            read(f"a{suffix}", settings=settings)


class TestByFolder:
    def test_files_are_sources(self) -> None:
        """Each folder with files in it is a run; the top folder too when it has some."""
        put({"top/du.log": b"d", "top/ue.txt": b"u", "top/r1/tester.log": b"1", "top/r2/deep/tester.log": b"2"})
        events = read("top", settings=BY_FOLDER)
        assert texts(events) == {
            ("top", "du"): b"d",
            ("top", "ue"): b"u",
            ("top/r1", "tester"): b"1",
            ("top/r2/deep", "tester"): b"2",
        }
        assert events[-1] == finished("top/r2/deep", tester=b"2")

    def test_rotated_parts_are_joined(self) -> None:
        """Parts of one log become one source, oldest first; dated ones are older than numbered ones."""
        put(
            {
                "r/du.log": b"7",
                "r/du.log.1": b"6",
                "r/du.log.2.gz": gzip.compress(b"5"),
                "r/du.log.10.zst": zstandard.compress(b"4"),
                "r/du-20260102.log": b"3",
                "r/du.log-20260101-120000": b"2",
                "r/du.log.2026-01-01.xz": lzma.compress(b"1"),
            }
        )
        assert texts(read("r", settings=BY_FOLDER)) == {("r", "du"): b"1\n2\n3\n4\n5\n6\n7"}

    def test_parts_are_joined_at_line_ends(self) -> None:
        """No line is made of two parts; nothing is added where a line ended, nor behind what gave no text."""
        put({"r/du.log": b"7", "r/du.log.1": b"", "r/du.log.2": b"6", "r/du.log.3": b"5\r", "r/du.log.4": b"4\r\n"})
        put({"r/du.log.5": b"", "r/ue.log": b"u", "r/du.log.6": PNG})
        events = collect(FileSource(["r"], BY_FOLDER))
        assert texts(events) == {("r", "du"): b"4\r\n5\r6\n7", ("r", "ue"): b"u"}

    def test_a_part_cut_by_damage_ends_its_line(self) -> None:
        """The line that damage cut is not continued by the next part."""
        put({"r/du.log.1.gz": gzip.compress(TEXT)[:-3000], "r/du.log": b"next\n"})
        (text,) = texts(read("r", settings=BY_FOLDER)).values()
        whole, _, cut = text.removesuffix(b"\nnext\n").rpartition(b"\n")
        assert text.endswith(b"\nnext\n")
        assert TEXT.startswith(whole + b"\n" + cut)

    def test_content_across_parts(self) -> None:
        """How a log was rotated does not change the content of its run."""
        put({"r/du.log.1": TEXT[:100], "r/du.log": TEXT[100:], "r/ue.log": b"u"})
        events = read("r", settings=BY_FOLDER)
        assert events[-1] == finished("r", du=TEXT[:100] + b"\n" * (TEXT[99:100] != b"\n") + TEXT[100:], ue=b"u")
        put({"s/du.log.1": b"short\n", "s/du.log": b"log\n", "s/ue.log": TEXT})
        assert read("s", settings=BY_FOLDER)[-1] == finished("s", du=b"short\nlog\n", ue=TEXT)

    def test_content_of_a_folder(self) -> None:
        """Every source with text counts, with its name; an empty one is a source all the same."""
        put({"r/a.log": b"", "r/b.log": TEXT, "r/c.log": b"c"})
        events = read("r", settings=BY_FOLDER)
        assert texts(events) == {("r", "a"): b"", ("r", "b"): TEXT, ("r", "c"): b"c"}
        (end,) = (event for event in events if isinstance(event, RunEnd))
        lines = f"{sha256(TEXT).hexdigest()}  b\n{sha256(b'c').hexdigest()}  c\n"
        assert end.content == sha256(lines.encode()).hexdigest()
        assert end.head == sha256(TEXT[:4096]).hexdigest()[:8]

    def test_only_empty_sources(self) -> None:
        """A folder of empty logs is a run."""
        put({"r/a.log": b"", "r/b.log": b""})
        assert texts(read("r", settings=BY_FOLDER)) == {("r", "a"): b"", ("r", "b"): b""}

    def test_damage_marks_the_run(self) -> None:
        """A source that cannot be read at all marks the run of the others, also when it comes first."""
        put({"r/a.log.gz": b"\x1f\x8b\x08", "r/b.log": b"b", "r/c.png": PNG})
        events = read("r", settings=BY_FOLDER)
        assert texts(events) == {("r", "b"): b"b"}
        marked, skipped = sorted(problems(events), key=lambda p: p.path)
        assert (marked.run_id, marked.source, marked.error) == ("r#", "a", True)
        assert (skipped.run_id, skipped.error) == (None, False)

    def test_nothing_readable(self) -> None:
        """When no source can be read there is no run."""
        put({"r/a.log.gz": b"\x1f\x8b\x08"})
        events = read("r", settings=BY_FOLDER)
        assert not texts(events)
        assert [(p.run_id, p.error) for p in problems(events)] == [(None, True)]

    def test_extensions_that_tell_apart_stay(self) -> None:
        """`du.log` and `du.txt` are two sources; their rotated parts know which is theirs."""
        put({"r/du.log": b"l", "r/du.txt": b"t", "r/du.txt.1": b"s"})
        assert texts(read("r", settings=BY_FOLDER)) == {("r", "du"): b"l", ("r", "du.txt"): b"s\nt"}

    def test_named_files(self) -> None:
        """Files named themselves belong to the run of their folder."""
        put({"r/du.log": b"d", "r/ue.log": b"u", "x.log": b"x"})
        assert set(texts(read("r/du.log", "x.log", "r/ue.log", settings=BY_FOLDER))) == {
            ("r", "du"),
            ("r", "ue"),
            (".", "x"),
        }

    def test_order_in_a_compressed_tar(self) -> None:
        """Rotated parts are joined in order although the archive holds them newest first."""
        members = [("r/du.log", b"3"), ("r/du.log.1", b"2"), ("r/du.log.2.gz", gzip.compress(b"1"))]
        put({"a.tar.xz": lzma.compress(tar_bytes(members))})
        assert texts(read("a.tar.xz", settings=BY_FOLDER)) == {("a.tar.xz!/r", "du"): b"1\n2\n3"}


class TestNames:
    @given(
        numbers=st.lists(st.integers(1, 99_999), unique=True, max_size=8),
        days=st.lists(st.dates(date(1990, 1, 1)), unique=True, max_size=8),
        packed=st.sampled_from(["", ".gz", ".zst"]),
        style=st.sampled_from(["du-{0:%Y%m%d}.log", "du.log-{0:%Y%m%d}", "du.log.{0:%Y-%m-%d}", "du_{0:%Y_%m_%d}.log"]),
        chance=st.randoms(use_true_random=False),
    )
    def test_rotated_parts_in_order(
        self, numbers: list[int], days: list[Any], packed: str, style: str, chance: random.Random
    ) -> None:
        """Dates ascend, then numbers descend, then the live file; all of one source."""
        days = [day for day in days if day.year < 2100]
        expected = [style.format(day) + packed for day in sorted(days)]
        expected += [f"du.log.{number}{packed}" for number in sorted(numbers, reverse=True)]
        expected.append("du.log")
        shuffled = chance.sample(expected, len(expected))
        assert ordered_parts((name, name) for name in shuffled) == [("du", name) for name in expected]

    @given(st.text(max_size=40))
    def test_printable_is_printable_once(self, text: str) -> None:
        """Escaping gives printable text and leaves that alone."""
        assert shown_name(text).isprintable()
        assert shown_name(shown_name(text)) == shown_name(text)

    @given(st.lists(st.text(alphabet="ab/0129", max_size=12)))
    def test_natural_order_is_total(self, names: list[str]) -> None:
        """Any names can be sorted, and equal keys mean equal names."""
        ordered = sorted(names, key=natural_key)
        for one, other in itertools.pairwise(ordered):
            assert natural_key(one) < natural_key(other) or one == other

    def test_absurd_numbers(self) -> None:
        """A number of any length sorts."""
        assert natural_key("9" * 10_000) < natural_key("1" + "0" * 10_000)

    @pytest.mark.parametrize("name", ["ue.1.log", "run-12.log", "gnb5.log", "20260101.log", "log", "a.99999999"])
    def test_not_rotated(self, name: str) -> None:
        """Numbers of devices and runs are no rotation."""
        assert not part_of(name).rotated
        assert part_of(name).stem == name
