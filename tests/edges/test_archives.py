"""Archives as they are really made: archives in archives, links, joined archives, sparse files, and hostile ones."""

import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.files.archives import MAX_LEVELS
from stream_triage.records import Event, Problem
from stream_triage.settings import InputSettings
from stream_triage.sources.file import FileSource
from tests.edges.source_contract import collect, problems, texts

BY_FOLDER = InputSettings(run_by="folder")
STRICT = InputSettings(max_expansion=20, expansion_floor_bytes=100_000)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": zstandard.compress,
}
Link = tuple[str, bytes, str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(path: str, settings: InputSettings | None = None) -> list[Event]:
    return collect(FileSource([path], settings or InputSettings()))


def runs(events: list[Event]) -> dict[str, bytes]:
    return {path: text for (path, _), text in texts(events).items()}


def errors(events: list[Event]) -> dict[str, str]:
    return {problem.path: problem.reason for problem in problems(events) if problem.error}


def hard(name: str, target: str) -> Link:
    return name, tarfile.LNKTYPE, target


def symbolic(name: str, target: str) -> Link:
    return name, tarfile.SYMTYPE, target


def tar_of(*members: tuple[str, bytes] | Link, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive of files and links, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            info = tarfile.TarInfo(member[0])
            if len(member) == 3:
                info.type, info.linkname = member[1], member[2]
                archive.addfile(info)
            else:
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def zip_of(*members: tuple[str, bytes], links: tuple[tuple[str, str], ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
        for name, target in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    return buffer.getvalue()


class TestNested:
    def test_archives_in_archives(self) -> None:
        """Each level adds its name to the id; a packed member is unpacked at every level."""
        inner = gzip.compress(tar_of(("du.log", b"d"), ("ue.log.gz", gzip.compress(b"u"))))
        Path("outer.zip").write_bytes(zip_of(("job/inner.tar.gz", inner), ("job/console.log", b"c")))
        assert runs(read("outer.zip")) == {
            "outer.zip!/job/console.log": b"c",
            "outer.zip!/job/inner.tar.gz!/du.log": b"d",
            "outer.zip!/job/inner.tar.gz!/ue.log.gz": b"u",
        }
        assert texts(read("outer.zip", BY_FOLDER)) == {
            ("outer.zip!/job", "console"): b"c",
            ("outer.zip!/job/inner.tar.gz", "du"): b"d",
            ("outer.zip!/job/inner.tar.gz", "ue"): b"u",
        }

    @pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
    @pytest.mark.parametrize("name", ["artifacts", "logs.1", "logs.gz", "a.zip", "a.tar"])
    @pytest.mark.parametrize("kind", ["zip", "tar", "tgz", "zip.xz"])
    def test_content_decides(self, kind: str, name: str, settings: InputSettings) -> None:
        """An archive is read whatever its name, on disk and in another archive."""
        member = ("x.log", b"x")
        packed = zip_of(member) if kind.startswith("zip") else tar_of(member)
        packed = gzip.compress(packed) if kind == "tgz" else lzma.compress(packed) if kind == "zip.xz" else packed
        Path(name).write_bytes(packed)
        Path("outer.tar").write_bytes(tar_of((name, packed)))
        for path in (name, "outer.tar"):
            assert list(texts(read(path, settings)).values()) == [b"x"]

    def test_compressed_several_times(self) -> None:
        Path("a.log.gz").write_bytes(gzip.compress(lzma.compress(gzip.compress(b"text\n"))))
        assert runs(read("a.log.gz")) == {"a.log.gz": b"text\n"}

    def test_damage_inside(self) -> None:
        """An inner archive that cannot be opened is an error of its own; what lies beside it is read."""
        Path("o.tar").write_bytes(tar_of(("i.zip", zip_of(("x.log", b"x"))[:-30]), ("j.tar", b"?"), ("y.log", b"y")))
        events = read("o.tar")
        assert runs(events) == {"o.tar!/y.log": b"y"}
        assert list(errors(events)) == ["o.tar!/i.zip", "o.tar!/j.tar"]

    def test_an_inner_archive_that_was_cut(self) -> None:
        """Its members before the cut are read, and the error names it."""
        inner = gzip.compress(tar_of(("x.log", b"x" * 2000), ("y.log", b"y" * 2000)))
        Path("o.zip").write_bytes(zip_of(("i.tgz", inner[:-20])))
        events = read("o.zip")
        assert "o.zip!/i.tgz!/x.log" in runs(events)
        assert "cut off" in errors(events)["o.zip!/i.tgz"]

    @pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
    @pytest.mark.parametrize("levels", [MAX_LEVELS, MAX_LEVELS + 1, 200])
    def test_depth_is_bounded(self, levels: int, settings: InputSettings) -> None:
        """What lies deeper is an error that says so."""
        data = b"text\n"
        for level in range(levels):
            data = zip_of(("i.zip" if level else "x.log", data)) if level % 2 else tar_of(("i" if level else "x.log", data))
        Path("o.bin").write_bytes(data)
        events = read("o.bin", settings)
        assert list(runs(events).values()) == ([b"text\n"] if levels == MAX_LEVELS else [])
        assert len(errors(events)) == (levels > MAX_LEVELS)

    @pytest.mark.parametrize("settings", [STRICT, STRICT.model_copy(update={"run_by": "folder"})], ids=["file", "folder"])
    def test_one_limit_for_all_levels(self, settings: InputSettings) -> None:
        """Archives that expand little each, and much together, are stopped; the rest is reported once."""
        data = b"0123456789\n" * 400
        for _ in range(5):
            data = zip_of(*((f"{number}.zip", data) for number in range(6)))
        Path("o.zip").write_bytes(data)
        events = read("o.zip", settings)
        assert sum(map(len, runs(events).values())) < 30 * len(data) + 200_000
        assert errors(events)["o.zip"] == "the rest of the archive is not read"

    def test_no_room_for_a_copy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An inner archive that cannot be copied is an error with its remedy; the others are read."""

        class Full(io.BytesIO):
            def write(self, data: object) -> int:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda size: Full())
        Path("o.tar").write_bytes(tar_of(("i.zip", zip_of(("x.log", b"x"))), ("y.log", b"y")))
        events = read("o.tar")
        assert runs(events) == {"o.tar!/y.log": b"y"}
        assert "set TMPDIR" in errors(events)["o.tar!/i.zip"]

    @pytest.mark.parametrize("run_by", ["file", "folder"])
    def test_names_to_pass_over(self, run_by: str) -> None:
        """Members and inner archives of these names are not read, in any folder; a note says so."""
        settings = InputSettings(run_by=run_by, pass_over=("*.isf", "tools.*"))
        Path("o.zip").write_bytes(
            zip_of(("r/a.isf", bytes(99)), ("r/tools.zip", zip_of(("x.log", b"x"))), ("r/y.log", b"y"))
        )
        events = read("o.zip", settings)
        assert list(texts(events).values()) == [b"y"]
        assert [(p.path, p.error) for p in problems(events)] == [("o.zip!/r/a.isf", False), ("o.zip!/r/tools.zip", False)]

    def test_names_stay_printable(self) -> None:
        Path("o.tar").write_bytes(tar_of(("../a\x1b[2J.zip", zip_of(("../../\u202eb.log", b"b")))))
        (path,) = runs(read("o.tar"))
        assert path == "o.tar!/../a\\x1b[2J.zip!/../../\\u202eb.log"


@pytest.mark.parametrize("settings", [InputSettings(), BY_FOLDER], ids=["file", "folder"])
@pytest.mark.parametrize("suffix", PACKERS)
class TestLinks:
    def read(self, suffix: str, settings: InputSettings, *members: tuple[str, bytes] | Link) -> list[Event]:
        Path(f"a{suffix}").write_bytes(PACKERS[suffix](tar_of(*members)))
        return read(f"a{suffix}", settings)

    def test_hard_links(self, suffix: str, settings: InputSettings) -> None:
        """Each is read, as hard links in a folder are; the file itself may be hidden."""
        members = (("p/.x", b"pool\n"), hard("r1/u.log", "p/.x"), hard("r2/u.log", "./p/.x"), hard("r3/u.log", "r1/u.log"))
        events = self.read(suffix, settings, *members, ("r4/u.log", b"4"))
        assert sorted(runs(events).values()) == [b"4", b"pool\n", b"pool\n", b"pool\n"]
        assert not errors(events)

    def test_a_hard_link_means_the_file_in_front_of_it(self, suffix: str, settings: InputSettings) -> None:
        """When a name comes twice, that is the last one before the link."""
        members = (("a/x", b"1"), hard("b/y", "a/x"), ("a/x", b"2"), hard("c/z", "a/x"))
        by_path = runs(self.read(suffix, settings, *members))
        found = {path.rpartition("!/")[2].partition("/")[0]: text for path, text in by_path.items()}
        assert (found["b"], found["c"]) == (b"1", b"2")

    @pytest.mark.parametrize("first", [False, True])
    def test_symbolic_links(self, suffix: str, settings: InputSettings, first: bool) -> None:
        """A file is read under its own name; one that is hidden, under the name of the first link to it."""
        links = (symbolic("r/seen.log", "own.log"), symbolic("r/a.log", "../.d/x.log"), symbolic("r/b.log", "a.log"))
        files = (("r/own.log", b"own"), (".d/x.log", b"hidden"))
        events = self.read(suffix, settings, *(*links, *files) if first else (*files, *links))
        assert sorted(texts(events).values()) == [b"hidden", b"own"]
        assert not errors(events)

    def test_links_to_folders(self, suffix: str, settings: InputSettings) -> None:
        """What is in the folder is read there; a file may be reached through a link to its folder."""
        members = (("run7/x.log", b"x"), symbolic("latest", "run7"), (".d/y.log", b"y"), symbolic("e", ".d"))
        events = self.read(suffix, settings, *members, symbolic("q/y.log", "../e/y.log"))
        assert sorted(texts(events).values()) == [b"x", b"y"]
        assert list(errors(events)) == [f"a{suffix}!/e"]

    @pytest.mark.parametrize(
        "link",
        [
            symbolic("l", "/etc/hostname"),
            symbolic("l", "../../../etc/hostname"),
            symbolic("l", "missing.log"),
            symbolic("l", "l"),
            symbolic("l", ""),
            hard("l", "/etc/hostname"),
            hard("l", "missing.log"),
            hard("l", "l"),
        ],
    )
    def test_links_that_lead_nowhere(self, suffix: str, settings: InputSettings, link: Link) -> None:
        """Nothing outside the archive is read, and what cannot be read is an error."""
        events = self.read(suffix, settings, ("x.log", b"x"), link)
        assert list(texts(events).values()) == [b"x"]
        assert list(errors(events)) == ([] if link == symbolic("l", "") else [f"a{suffix}!/l"])

    def test_links_in_circles(self, suffix: str, settings: InputSettings) -> None:
        links = [symbolic(f"l{number}", f"l{(number + 1) % 50}") for number in range(50)]
        links += [symbolic("d", "d/d/d"), symbolic("e", "d/e"), hard("h", "i"), hard("i", "h")]
        events = self.read(suffix, settings, *links, ("x.log", b"x"))
        assert list(texts(events).values()) == [b"x"]
        assert len(errors(events)) == len(links)

    def test_devices_and_pipes(self, suffix: str, settings: InputSettings) -> None:
        """They have no text, and are passed over."""
        events = self.read(suffix, settings, ("d", tarfile.CHRTYPE, ""), ("p", tarfile.FIFOTYPE, ""), ("x.log", b"x"))
        assert [(p.path, p.error) for p in problems(events)] == [(f"a{suffix}!/d", False), (f"a{suffix}!/p", False)]

    def test_many_links_to_one_file(self, suffix: str, settings: InputSettings) -> None:
        """What they add up to counts as unpacked."""
        strict = settings.model_copy(update={"max_expansion": 5, "expansion_floor_bytes": 100_000})
        links = [hard(f"{number}.log", "x.log") for number in range(1000)]
        events = self.read(suffix, strict, ("x.log", b"text\n" * 2000), *links)
        assert sum(map(len, texts(events).values())) < 10 * Path(f"a{suffix}").stat().st_size + 300_000
        assert any("input.max_expansion" in problem.reason for problem in problems(events))


class TestTar:
    def test_joined_archives(self) -> None:
        """Behind the end mark of one archive the next one begins, padded or not, packed or not."""
        one, two = tar_of(("a.log", b"a")), tar_of(("b.log", b"b"), form=tarfile.GNU_FORMAT)
        for data in (one + two, one[:2048] + two, one + bytes(512 * 7) + two, gzip.compress(one) + gzip.compress(two)):
            Path("a.tar").write_bytes(data)
            events = read("a.tar")
            assert runs(events) == {"a.tar!/a.log": b"a", "a.tar!/b.log": b"b"}
            assert not problems(events)

    def test_what_is_behind_the_end(self) -> None:
        """Bytes that may be members are reported; a few that cannot be are not."""
        for rest, reported in ((b"x" * 511, False), (b"x" * 512, True)):
            Path("a.tar").write_bytes(tar_of(("a.log", b"a")) + rest)
            events = read("a.tar")
            assert runs(events) == {"a.tar!/a.log": b"a"}
            assert ("a.tar" in errors(events)) == reported

    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names(self, form: int) -> None:
        """Names and targets that do not fit into a header come in one of their own."""
        name, link = "n/" * 150 + "x.log", "l/" * 150 + "y.log"
        Path("a.tar").write_bytes(tar_of((name, b"x"), hard(link, name), ("ü.log", b"u"), form=form))
        assert runs(read("a.tar")) == {f"a.tar!/{name}": b"x", f"a.tar!/{link}": b"x", "a.tar!/ü.log": b"u"}

    @pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
    def test_sparse_files(self, version: str) -> None:
        """As `tar -S` stores a log with holes: its NULs come back."""
        text = b"text\n" * 1000
        Path("a.tar").write_bytes(sparse_tar(version, 100, text, 5200))
        events = read("a.tar")
        assert not problems(events)
        assert runs(events) == {"a.tar!/s.log": bytes(100) + text + bytes(100), "a.tar!/z.log": b"z"}

    @pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
    @pytest.mark.parametrize("start", [1 << 40, 1 << 62])
    def test_sparse_files_of_any_size(self, version: str, start: int) -> None:
        """A hole counts as unpacked; one that claims terabytes is not read to its end."""
        Path("a.tar").write_bytes(sparse_tar(version, start, b"text\n", start + 5))
        events = read("a.tar", STRICT)
        assert sum(map(len, runs(events).values())) < 1_000_000
        assert any(problem.error for problem in problems(events))

    def test_headers_without_end(self) -> None:
        """Thousands of headers that describe a member which never comes."""
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 512
        Path("a.tar").write_bytes((info.tobuf(tarfile.USTAR_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")) * 5000)
        events = read("a.tar")
        assert not runs(events)
        assert errors(events)

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
    def test_headers_of_any_content(self, kind: bytes) -> None:
        """Millions of fields that mean nothing take neither memory nor time."""
        info = tarfile.TarInfo("x")
        data = b"".join(b"17 field%06d=x\n" % number for number in range(2000)).ljust(34_304, b"\0")
        info.type, info.size = kind, len(data)
        header = info.tobuf(tarfile.USTAR_FORMAT) + data
        Path("a.tar").write_bytes(header * 200 + tar_of(*((f"{number}.log", b"x") for number in range(300))))
        assert len(runs(read("a.tar"))) == 300

    def test_a_tar_that_contains_itself(self) -> None:
        """A member whose data begins before its own header exists only by trickery; a nested copy ends at the limit."""
        data = tar_of(("x.log", b"x"))
        for _ in range(30):
            data = tar_of(("self.tar", data), ("x.log", b"x"))
        Path("a.tar").write_bytes(data)
        events = read("a.tar")
        assert len(runs(events)) == MAX_LEVELS
        assert len(errors(events)) == 1


def sparse_tar(version: str, start: int, text: bytes, full_size: int) -> bytes:
    """A tar archive with a sparse file, which has this text after so many NULs, and a file behind it."""
    info, data = tarfile.TarInfo("s.log"), text
    fields = {"GNU.sparse.realsize": str(full_size), "GNU.sparse.name": "s.log"}
    if version == "1.0":
        fields |= {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        data = f"1\n{start}\n{len(text)}\n".encode().ljust(512, b"\0") + text
    elif version == "0.1":
        fields |= {"GNU.sparse.map": f"{start},{len(text)}", "GNU.sparse.size": str(full_size)}
    info.size = len(data)
    info.pax_headers = fields
    if version == "0.0":
        records = [f" GNU.sparse.offset={start}\n", f" GNU.sparse.numbytes={len(text)}\n", f" GNU.sparse.size={full_size}\n"]
        extended = "".join(_record(each) for each in records).encode()
        header = tarfile.TarInfo("x")
        header.type, header.size = tarfile.XHDTYPE, len(extended)
        info.pax_headers = {}
        head = header.tobuf(tarfile.USTAR_FORMAT) + extended.ljust(-(-len(extended) // 512) * 512, b"\0")
        head += info.tobuf(tarfile.USTAR_FORMAT)
    elif version == "old":
        head = _old_sparse_header(start, len(text), full_size)
    else:
        head = info.tobuf(tarfile.PAX_FORMAT)
    return head + data.ljust(-(-len(data) // 512) * 512, b"\0") + tar_of(("z.log", b"z"))


def _record(rest: str) -> str:
    length = len(rest) + 2 if len(rest) + 2 < 100 else len(rest) + 3
    return f"{length if len(str(length)) + len(rest) == length else length + 1}{rest}"


def _old_sparse_header(start: int, size: int, full_size: int) -> bytes:
    info = tarfile.TarInfo("s.log")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, size
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))

    def number(value: int) -> bytes:
        return b"%011o\0" % value if value < 8**11 else b"\x80" + value.to_bytes(11, "big")

    block[386:410] = number(start) + number(size)
    block[483:495] = number(full_size)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class TestZip:
    @pytest.mark.parametrize("large", [False, True])
    def test_a_directory_that_fills_the_memory(self, large: bool) -> None:
        """It is not read; a comment behind it changes nothing."""
        size = 1 << 30
        end = b"PK\5\6" + bytes(8) + (b"\xff" * 4 if large else size.to_bytes(4, "little")) + bytes(4) + b"\2\0" + b"hi"
        if large:
            end64 = b"PK\6\6" + bytes(36) + size.to_bytes(8, "little") + bytes(8)
            end = end64 + b"PK\6\7" + bytes(16) + end
        Path("a.zip").write_bytes(b"PK\3\4" + bytes(100) + end)
        assert "directory of more than" in errors(read("a.zip"))["a.zip"]

    def test_symbolic_links(self) -> None:
        """As in a tar archive."""
        links = (("seen.log", "own.log"), ("r/a.log", "../.d/x.log"), ("out", "../../etc/hostname"))
        Path("a.zip").write_bytes(zip_of(("own.log", b"own"), (".d/x.log", b"hidden"), links=links))
        events = read("a.zip")
        assert runs(events) == {"a.zip!/own.log": b"own", "a.zip!/r/a.log": b"hidden"}
        assert list(errors(events)) == ["a.zip!/out"]

    def test_joined_archives(self) -> None:
        """Only the last of several zip archives in one file can be read: that is an error. A program in front is none."""
        one, two = zip_of(("a.log", b"a")), zip_of(("b.log", b"b"))
        for front, reported in ((one, ["a.zip"]), (b"MZ" + bytes(100), [])):
            Path("a.zip").write_bytes(front + two)
            events = read("a.zip")
            assert runs(events) == {"a.zip!/b.log": b"b"}
            assert list(errors(events)) == reported


NAMES = st.sampled_from(["a", "b", "du.log", "ue.log", "run 7", "ü.txt"])
TREES = st.recursive(
    st.binary(max_size=40).map(lambda text: text.hex().encode()),
    lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


@given(tree=TREES, draw=st.data())
@settings(deadline=None, max_examples=60)
def test_packing_changes_nothing(tree: dict, draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A tree of files gives the same runs, whichever of its folders are archives and whichever files are compressed."""
    folder = tmp_path_factory.mktemp("trees")
    unpack_to(folder / "plain", tree)
    write_to(folder / "packed", tree, lambda name: draw.draw(st.sampled_from(["", ".zip", *PACKERS]), label=name))
    for each in (InputSettings(), BY_FOLDER):
        expected, packed = ({}, {})
        for name, found in (("plain", expected), ("packed", packed)):
            events = collect(FileSource([str(folder / name)], each))
            assert not problems(events)
            for (path, source), text in texts(events).items():
                found[without_archives(path.removeprefix(str(folder / name))), source] = text
        assert packed == expected


def without_archives(path: str) -> str:
    for suffix in (".zip", *PACKERS):
        path = path.replace(f"{suffix}!/", "/").removesuffix(suffix)
    return path


def unpack_to(path: Path, tree: dict | bytes) -> None:
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, below in tree.items():
        unpack_to(path / name, below)


def write_to(path: Path, tree: dict, choose: Callable[[str], str]) -> None:
    """Writes the tree with some folders as archives."""
    path.mkdir()
    for name, below in tree.items():
        if isinstance(below, bytes):
            (path / name).write_bytes(below)
        elif suffix := choose(name):
            (path / f"{name}{suffix}").write_bytes(archive_of(below, suffix, choose))
        else:
            write_to(path / name, below, choose)


def archive_of(tree: dict, suffix: str, choose: Callable[[str], str]) -> bytes:
    members = list(members_of(tree, "", choose))
    return zip_of(*members) if suffix == ".zip" else PACKERS[suffix](tar_of(*members))


def members_of(tree: dict, prefix: str, choose: Callable[[str], str]):
    for name, below in tree.items():
        if isinstance(below, bytes):
            yield prefix + name, below
        elif suffix := choose(name):
            yield f"{prefix}{name}{suffix}", archive_of(below, suffix, choose)
        else:
            yield from members_of(below, f"{prefix}{name}/", choose)


def test_problems_are_typed() -> None:
    """Every problem of an archive names a path below it, so that it can be found."""
    Path("o.zip").write_bytes(zip_of(("i.tar", tar_of(("x.bin", bytes(600)), symbolic("l", "gone")))))
    assert {problem.path for problem in read("o.zip") if isinstance(problem, Problem)} == {
        "o.zip!/i.tar!/x.bin",
        "o.zip!/i.tar!/l",
    }
