"""The archive of texts: the contract, its limits, and that no partial file is left."""

import os
import stat
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.ports import Sink
from stream_triage.settings import ArchiveSettings
from stream_triage.sinks.archive import TextArchive
from stream_triage.spool import RunFile, SpillSpool
from tests.edges.contract import ForgetsContract, SinkContract
from tests.limits import file_size_limit
from tests.verdicts import make_verdict

DAY_SECONDS = 86_400


class TestArchive(SinkContract, ForgetsContract):
    @pytest.fixture(autouse=True)
    def _target(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.settings = ArchiveSettings(folder=tmp_path / "archive")

    def open_sink(self) -> Sink:
        return TextArchive(self.settings, self.clock)

    def counting(self) -> list[tuple[str, int]]:
        paths = sorted(self.settings.folder.glob("*/*"), key=lambda path: path.stat().st_mtime)
        counted = []
        for path in paths:
            with RunFile(path) as file:
                counted.append((file.run_id, file.version))
        return counted


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settings(tmp_path: Path) -> ArchiveSettings:
    return ArchiveSettings(folder=tmp_path / "archive")


@pytest.fixture
def archive(settings: ArchiveSettings, clock: FakeClock) -> TextArchive:
    return TextArchive(settings, clock)


def _keep(archive: TextArchive, run_id: str, lines: list[str], version: int = 201) -> None:
    with SpillSpool(run_id) as text:
        text.append("gnb", lines)
        archive.write(make_verdict(run_id, version=version), text)


def _files(settings: ArchiveSettings) -> list[Path]:
    return [path for path in settings.folder.rglob("*") if path.is_file()]


def test_gives_back_the_text(archive: TextArchive) -> None:
    """By the full run id, which may contain slashes."""
    _keep(archive, "../night/ü 1", ["one", "", "three"])
    with archive.open("../night/ü 1") as text:
        assert text.run_id == "../night/ü 1"
        assert text.sources() == ["gnb"]
        assert text.read("gnb", 1, 9) == ["one", "", "three"]


def test_is_for_its_owner_only(archive: TextArchive, settings: ArchiveSettings) -> None:
    """Folders have mode 0700 and files 0600; their names are hashes."""
    _keep(archive, "a", ["one"])
    (file,) = _files(settings)
    assert file.relative_to(settings.folder).as_posix() == f"ca/ca{file.name[2:]}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (settings.folder, file.parent)} == {0o700}


def test_leaves_the_spool_readable(archive: TextArchive) -> None:
    """Other sinks can read the text, and the run can go on, after the archive has stored it."""
    with SpillSpool("a") as text:
        text.append("", ["one"])
        archive.write(make_verdict("a"), text)
        text.append("", ["two"])
        assert text.read("", 1, 9) == ["one", "two"]


def test_replaces_the_text_with_the_version(archive: TextArchive) -> None:
    """A reader that has the old file open can go on reading it."""
    _keep(archive, "a", ["old"], version=21)
    with archive.open("a") as before:
        _keep(archive, "a", ["new"], version=41)
        _keep(archive, "a", ["late"], version=31)
        assert before.read("gnb", 1, 1) == ["old"]
    with archive.open("a") as text:
        assert text.read("gnb", 1, 1) == ["new"]


def test_keeps_no_provisional_text(archive: TextArchive, settings: ArchiveSettings) -> None:
    """Only finished runs are kept."""
    with SpillSpool("a") as text:
        archive.write(make_verdict("a", version=20, final=False), text)
    assert _files(settings) == []


def test_archives_any_run_text(archive: TextArchive, tmp_path: Path, clock: FakeClock) -> None:
    """A text from another archive is compressed again."""
    _keep(archive, "a", [str(number) for number in range(2_500)])
    other = TextArchive(ArchiveSettings(folder=tmp_path / "other"), clock)
    with archive.open("a") as text:
        other.write(make_verdict("a"), text)
    with other.open("a") as text:
        assert text.read("gnb", 1, 9_999) == [str(number) for number in range(2_500)]


def test_says_when_there_is_no_text(archive: TextArchive) -> None:
    """The error for a run that was never archived is another one than for a damaged file."""
    with pytest.raises(RunNotFound, match=r"no text of run 'a' in .*pruned"):
        archive.open("a")


def test_damaged_file(archive: TextArchive, settings: ArchiveSettings) -> None:
    """The error names the file; a verdict of the same version writes it again."""
    _keep(archive, "a", ["one"])
    (file,) = _files(settings)
    os.truncate(file, 20)
    with pytest.raises(StoreError, match=file.name):
        archive.open("a")
    _keep(archive, "a", ["one"])
    archive.open("a").close()


def test_forgets(archive: TextArchive, settings: ArchiveSettings) -> None:
    """The text of one run is removed, the others stay."""
    _keep(archive, "a", ["one"])
    _keep(archive, "b", ["one"])
    assert archive.forget("a")
    assert not archive.forget("a")
    assert len(_files(settings)) == 1
    archive.open("b").close()


def test_prunes_by_age(tmp_path: Path, clock: FakeClock) -> None:
    """Texts that were stored more than `max_age_days` ago are removed."""
    archive = TextArchive(ArchiveSettings(folder=tmp_path, max_age_days=2, max_bytes=None), clock)
    for run_id in "abc":
        _keep(archive, run_id, ["one"])
        clock.advance(DAY_SECONDS)
    assert archive.prune() == ["a"]
    assert archive.prune() == []
    archive.open("b").close()


def test_prunes_by_size(tmp_path: Path, clock: FakeClock) -> None:
    """The oldest are removed until the size fits, damaged files in their turn, which are named by their path."""
    archive = TextArchive(ArchiveSettings(folder=tmp_path, max_age_days=None), clock)
    for run_id in "cab":
        _keep(archive, run_id, ["one"])
        clock.advance(1)
    sizes = sorted((path.stat().st_mtime, path, path.stat().st_size) for path in tmp_path.rglob("*.zst"))
    damaged, size = sizes[0][1], sizes[0][2]
    os.truncate(damaged, size - 1)
    os.utime(damaged, (sizes[0][0], sizes[0][0]))
    small = TextArchive(ArchiveSettings(folder=tmp_path, max_age_days=None, max_bytes=size), clock)
    assert small.prune() == [str(damaged), "a"]
    small.open("b").close()


def test_prunes_nothing_where_nothing_is(archive: TextArchive) -> None:
    """Before the first run there is no folder."""
    assert archive.prune() == []


def test_prunes_what_a_killed_process_left(archive: TextArchive, settings: ArchiveSettings, clock: FakeClock) -> None:
    """Partial files are removed after a day, when no process can still be writing them."""
    folder = settings.folder / "ab"
    folder.mkdir(parents=True)
    for name, age_seconds in (("old", DAY_SECONDS + 1), ("young", 60)):
        path = folder / f"{name}.partial"
        path.write_text("half")
        os.utime(path, (clock.now().timestamp() - age_seconds,) * 2)
    assert archive.prune() == []
    assert [path.name for path in _files(settings)] == ["young.partial"]


def test_full_disk(archive: TextArchive, settings: ArchiveSettings) -> None:
    """No partial file is left, the error names the remedy, the old version stays, and a retry succeeds."""
    _keep(archive, "a", ["old"], version=1)
    lines = [os.urandom(50).hex() for _ in range(2_000)]
    with SpillSpool("a") as text:
        text.append("", lines)
        with (
            file_size_limit(8_192),
            pytest.raises(StoreError, match=r"text of run 'a' cannot be written .* free space"),
        ):
            archive.write(make_verdict("a"), text)
        assert len(_files(settings)) == 1
        with archive.open("a") as old:
            assert old.read("gnb", 1, 1) == ["old"]
        archive.write(make_verdict("a"), text)
    with archive.open("a") as new:
        assert new.read("", 1, 2_000) == lines


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    """The error names a file where the folder should be."""
    (tmp_path / "archive").write_text("")
    archive = TextArchive(ArchiveSettings(folder=tmp_path / "archive"))
    with pytest.raises(StoreError, match=r"archive cannot be changed: .* set archive.folder"):
        _keep(archive, "a", ["one"])
