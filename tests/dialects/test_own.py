"""A user's own dialects: where their files are, what they may say, and how errors name the place."""

from pathlib import Path

import pytest

from stream_triage import Bundle, SettingsError
from stream_triage.dialects import Dialects, dialect_files, load_dialect, load_dialects
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures.breaks import failed_ues, run_breaks
from stream_triage.stages.procedures.follow import Follower, ProcedureState

OWN = r"""
name = "mine"
title = "My stack"
records = ['<time> \[(?P<module>\w+)\] ']
entities = ['ue=(?P<ue>\d+)']
[modules]
"sched" = "l2"
[events]
"random access failed" = ["preamble lost"]
"""
PROCEDURE = """
"carrier refused" = ["no second carrier"]
[procedures."carrier"]
layer = "rrc"
undone_by = ["release"]
words = { refused = "{who} got no second carrier" }
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file with a dialect."""
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    return path


def event_of(dialects: Dialects, line: str) -> tuple[int, str]:
    signal = dialects.read(mask(line))
    assert signal
    return signal.dialect, dialects.name(signal.event) if signal.event else ""


def followed(dialects: Dialects, *lines: str) -> tuple[Follower, ProcedureState]:
    follower = Follower(dialects)
    state = follower.start()
    follower.follow(state, lines, [dialects.read(mask(line)) for line in lines], 1)
    return follower, state


def test_one_file_is_enough(own: Path) -> None:
    """It comes before those of the package."""
    dialects = Dialects([load_dialect(own)])
    assert event_of(dialects, "2024-01-02 03:04:05 [sched] preamble lost ue=7") == (0, "random access failed")


def test_a_name_of_the_package_is_replaced(own: Path) -> None:
    """The dialect of the package is not used any more, the others are."""
    own.write_text(OWN.replace('"mine"', '"ueransim"'))
    dialects = Dialects([load_dialect(own)])
    assert [dialect.table.title for dialect in dialects.dialects if dialect.table.name == "ueransim"] == ["My stack"]
    assert len(dialects.dialects) == len(Dialects().dialects)
    assert dialects.read(mask("[2026-03-02 10:15:01.200] [nas] [error] Service Reject received")) is None or (
        event_of(dialects, "[2026-03-02 10:15:01.200] [nas] [error] Service Reject received")[1] == ""
    )


def test_a_record_without_a_module(own: Path) -> None:
    """The empty name stands for it, so that `[events]` applies."""
    own.write_text(OWN.replace(r"<time> \[(?P<module>\w+)\] ", "<time> MY ").replace('"sched"', '""'))
    dialects = Dialects([load_dialect(own)])
    assert event_of(dialects, "2024-01-02 03:04:05 MY preamble lost ue=7") == (0, "random access failed")


def test_names_are_as_in_the_log(own: Path) -> None:
    """Modules and columns may be written with capitals and underscores, as the program prints them."""
    own.write_text(OWN.replace('"sched"', '"SCHED_DL"') + '[tables]\n"PHY" = { dl_bler = "BLER (DL)" }\n')
    table = load_dialect(own)
    assert (table.modules, table.tables) == ({"sched dl": "l2"}, {"PHY": {"dl_bler": "bler dl"}})


class TestProcedures:
    def test_a_file_may_add_procedures(self, own: Path) -> None:
        """A UE fails by them, with their words; the layer that is blamed is theirs."""
        own.write_text(OWN + PROCEDURE)
        follower, state = followed(Dialects([load_dialect(own)]), "2024-01-02 03:04:05 [sched] no second carrier ue=7")
        assert [(ue.ue, ue.line, ue.reason) for ue in failed_ues(follower, state)] == [
            ("7", 1, "{who} got no second carrier")
        ]

    def test_those_of_a_node_come_last(self, own: Path) -> None:
        """What the package knows about outranks them as a cause."""
        text = PROCEDURE.replace('undone_by = ["release"]', 'of = "node"')
        own.write_text(OWN + text)
        lines = ["2024-01-02 03:04:05 [sched] no second carrier", "2024-01-02 03:04:05 [sched] preamble lost ue=7"]
        follower, state = followed(Dialects([load_dialect(own)]), *lines)
        assert [found.line for found in run_breaks(follower, {"": state})] == [2, 1]

    def test_equal_ones_may_be_in_two_files(self, own: Path, tmp_path: Path) -> None:
        """Two programs of one stack share them; if they differ, the error names both files."""
        own.write_text(OWN + PROCEDURE)
        other = tmp_path / "other.toml"
        other.write_text(OWN.replace('"mine"', '"other"') + PROCEDURE)
        assert len(load_dialects([own, other])) == 2
        other.write_text(other.read_text().replace('"rrc"', '"nas"'))
        with pytest.raises(SettingsError, match=r"other\.toml, beside .*mine\.toml: procedure 'carrier' is defined already"):
            load_dialects([own, other])
        with pytest.raises(SettingsError, match="dialect other: procedure 'carrier' is defined already"):
            Dialects([load_dialect(own), load_dialect(other)])

    def test_those_of_the_package_stay(self, own: Path) -> None:
        own.write_text(OWN + '[procedures.registration]\nlayer = "l1"\n')
        with pytest.raises(SettingsError, match="procedure 'registration' is defined already, with other properties"):
            load_dialect(own)

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ('"release"', '"releas"', "procedure 'carrier' names the procedure 'releas', which does not exist"),
            ("{who} got", "{ue} got", "may have no other braces than {who}"),
            ("{who} got", "{who.__class__} got", "may have no other braces than {who}"),
            ("{who} got", "{who got", "has a brace that is not closed"),
            ("refused =", "broke =", "'broke' is no step"),
            ('procedures."carrier"', 'procedures."Carrier {0}"', "String should match pattern"),
        ],
    )
    def test_wrong_ones_are_refused(self, own: Path, before: str, after: str, message: str) -> None:
        """Above all what would only fail when a sentence is made."""
        assert before in PROCEDURE
        own.write_text(OWN + PROCEDURE.replace(before, after))
        with pytest.raises(SettingsError) as error:
            load_dialect(own)
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"random access failed"', '"random acces failed"', "there is no procedure 'random acces'"),
        ('"random access failed"', '"random access broke"', "'broke' is no step; steps are begun, completed"),
        (r"(?P<module>", r"(?P<module", "is not a regular expression"),
        (r"(?P<module>", r"(?P<modul>", "has a group 'modul'; groups are module, level, level2"),
        (r"<time> \[(?P<module>\w+)\] ", r"(?P<module>\w*)", "matches an empty line, so every line would begin a record"),
        (r"(?P<ue>\d+)", r"\d+", "needs a group with a name for the id"),
        (r"(?P<ue>\d+)", r"(?P<ue>\d+)(x)", "needs a group with a name for the id"),
        ('["preamble lost"]', '["..."]', "has no word"),
        ('["preamble lost"]', '["preamble *"]', "needs words before and after each `*`"),
        ('["preamble lost"]', '"preamble lost"', "events.random access failed: Input should be a list"),
        ('"l2"', '"l9"', "modules.sched: Input should be 'l1'"),
        ('title = "My stack"', "", "title: is missing"),
        ('title = "My stack"', 'titel = "My stack"', "titel: there is no such key"),
        ('name = "mine"', "name = ", "is not TOML"),
        ("[modules]", "[examples]\n'a' = 'call failed'\n[modules]", "there is no procedure 'call'"),
        ("[modules]", "[readings]\ncqi = { phrase = 'cqi', pattern = 'CQI' }\n[modules]", "needs a group for the number"),
        ("[modules]", "[readings]\nfoo = { phrase = 'cqi', pattern = '(1)' }\n[modules]", "there is no value 'foo'"),
        ("[modules]", "sets_up = ['group']\n[modules]", "needs a group (?P<ues>...)"),
        ("[modules]", "[tables]\n'--' = { cqi = 'cqi' }\n[modules]", "'--' has no word"),
        ("[modules]", "shows = ['calls']\n[modules]", "shows: there is no procedure 'calls'"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(own: Path, before: str, after: str, message: str) -> None:
    """One sentence says which file, where in it, and why; what is not wrong is not mentioned."""
    assert before in OWN
    own.write_text(OWN.replace(before, after))
    with pytest.raises(SettingsError) as error:
        load_dialect(own)
    assert message in str(error.value)
    assert "mine.toml" in str(error.value)
    assert "at least 1 item" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is not TOML"),
        (b"x = " + b"[" * 100_000, "is not TOML"),
        (b"name = 7", "name: Input should be a valid string"),
        (b"", "name: is missing"),
    ],
)
def test_any_content_gets_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "any.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        load_dialect(tmp_path / "any.toml")


@pytest.mark.parametrize("path", ["none.toml", "."])
def test_what_cannot_be_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: .*; check the setting dialects"):
        load_dialect(tmp_path / path)


class TestFiles:
    def test_those_beside_the_bundle_come_after_those_of_the_setting(self, own: Path, tmp_path: Path) -> None:
        """Each file once, also if both places name it; what editors leave there is no dialect."""
        folder = tmp_path / "bundle" / "dialects"
        folder.mkdir(parents=True)
        for name in ("b.toml", "a.toml", ".#a.toml", "a.toml~", "readme.md"):
            (folder / name).write_text("")
        found = dialect_files([own, folder / "b.toml"], tmp_path / "bundle")
        assert found == [own, folder / "b.toml", folder / "a.toml"]

    @pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.write_text("no folder")])
    def test_no_folder(self, tmp_path: Path, make) -> None:
        make(tmp_path / "dialects")
        assert dialect_files([], tmp_path) == []

    def test_equal_names_are_an_error_that_names_both(self, own: Path, tmp_path: Path) -> None:
        (tmp_path / "copy.toml").write_text(OWN)
        with pytest.raises(SettingsError, match=r"mine\.toml and .*copy\.toml are both called 'mine'"):
            load_dialects([own, tmp_path / "copy.toml"])

    def test_a_bundle_does_not_mind(self, bundle_path: Path, tmp_path: Path) -> None:
        """The folder is no part of the bundle, so its checksums hold."""
        folder = tmp_path / "bundle"
        folder.mkdir()
        for file in bundle_path.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "dialects").mkdir()
        (folder / "dialects" / "mine.toml").write_text(OWN)
        assert Bundle.open(folder).card == Bundle.open(bundle_path).card
