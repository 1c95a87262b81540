"""Opening bundles: what is rejected, with which message, and where a name is looked up."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle, BundleError, Triage, find_bundle
from stream_triage import bundle as bundle_module
from stream_triage.bundle import CARD_NAME, Card, replaceable_files, searched_folders, write_bundle
from stream_triage.stages.normalise import MASKING_VERSION

CARD = Card(
    name="b",
    version="1",
    labels=("Pass", "L2"),
    passing_label="Pass",
    masking_version=7,
    classifiers={"terms": 1.0},
    review_below_confidence=0.5,
    review_below_known_share=0.5,
    files={},
)
FILES = {"a.json": b'{"x": [1]}', "b.txt": "grün".encode()}


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "b", CARD, FILES)
    return tmp_path / "b"


def opened(folder: Path) -> Bundle:
    return Bundle.open(folder)


def change_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / CARD_NAME).read_text())
    (folder / CARD_NAME).write_text(json.dumps({**card, **changes}))


def test_round_trip(folder):
    """What was written is read back, with the checksums in the card."""
    bundle = opened(folder)
    assert bundle.card.model_copy(update={"files": {}}) == CARD
    assert {name: bundle.data(name) for name in bundle.card.files} == FILES
    assert bundle.json("a.json") == {"x": [1]}
    assert bundle.text("b.txt") == "grün"


def test_trained_bundle_judges_alike_from_disk(bundle, tmp_path):
    """The whole way: trained, written, opened, used."""
    write_bundle(tmp_path / "tiny", bundle.card, {name: bundle.data(name) for name in bundle.card.files})
    again = opened(tmp_path / "tiny")
    text = "uesim starting\nregistration reject cause 7\n"
    assert Triage(again).run(text) == Triage(bundle).run(text)


def test_rewriting_rebundle_folders_stale_files(folder):
    """Files of the older bundle go; folders, and files that its card does not list, stay."""
    (folder / "notes").mkdir()
    (folder / "README.md").write_text("mine")
    write_bundle(folder, CARD, {"b.txt": b"new"})
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "b.txt", CARD_NAME, "notes"]
    assert opened(folder).text("b.txt") == "new"


@pytest.mark.parametrize("card", [None, b"{", b"[]", b'{"name": "package"}', b'{"files": ["setup.py"]}'])
def test_folder_of_something_else_is_left_alone(tmp_path, card):
    """Training into a checkout removes nothing of it."""
    (tmp_path / "setup.py").write_text("print()")
    (tmp_path / ".git").mkdir()
    if card is not None:
        (tmp_path / CARD_NAME).write_bytes(card)
    before = everything_in(tmp_path)
    for refusing in (replaceable_files, lambda folder: write_bundle(folder, CARD, FILES)):
        with pytest.raises(BundleError, match=r"is not empty and holds no bundle with a card\.json; name a new or empty"):
            refusing(tmp_path)
    assert everything_in(tmp_path) == before


def test_path_of_a_file_is_rejected(tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BundleError, match="cannot take a bundle: Not a directory; name another folder"):
        write_bundle(tmp_path / "b", CARD, FILES)
    assert (tmp_path / "b").read_text() == "mine"


def test_replaceable_files_are_those_the_card_lists(folder, tmp_path):
    (folder / "README.md").write_text("mine")
    (folder.parent / "outside").write_text("mine")
    change_card(folder, files={"a.json": "", "../outside": "", "gone.json": "", "..": ""})
    assert replaceable_files(folder) == {"a.json", CARD_NAME}
    assert replaceable_files(tmp_path / "new") == frozenset()


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


NEW_FILES = {"a.json": b"{}", "c.json": b"[]"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("method", ["write_bytes", "replace", "unlink"])
@pytest.mark.parametrize("step", range(4))
def test_interrupted_write_leaves_the_old_bundle_or_the_new_one(folder, monkeypatch, method, step, error):
    """Whichever write, move or removal is the one that fails."""
    before = everything_in(folder)
    done = fail_at(monkeypatch, method, step, error)
    try:
        write_bundle(folder, CARD, NEW_FILES)
    except (KeyboardInterrupt, BundleError):
        assert done() > step
        monkeypatch.undo()
        assert everything_in(folder) == before
    else:
        assert done() <= step
    monkeypatch.undo()
    bundle = opened(folder)
    assert {name: bundle.data(name) for name in bundle.card.files} in (FILES, NEW_FILES)


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_interrupted_first_write_leaves_nothing(tmp_path, monkeypatch, method):
    fail_at(monkeypatch, method, 1, OSError)
    with pytest.raises(BundleError, match="cannot be written: "):
        write_bundle(tmp_path / "new", CARD, FILES)
    assert not (tmp_path / "new").exists()


def fail_at(monkeypatch, method, step, error):
    """Lets one call of a method of `Path` fail, counted from 0; gives how many there were."""
    real, calls = getattr(Path, method), 0

    def failing(self, *arguments, **more):
        nonlocal calls
        calls += 1
        if calls == step + 1:
            raise error("stop")
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, method, failing)
    return lambda: calls


def test_wrong_checksum_is_rejected(folder):
    (folder / "a.json").write_bytes(b'{"x": [2]}')
    with pytest.raises(
        BundleError, match=r"a\.json in bundle .*/b does not match its checksum; copy the whole folder again"
    ):
        opened(folder)


def test_missing_file_is_rejected(folder):
    (folder / "a.json").unlink()
    with pytest.raises(BundleError, match=r"bundle .*/b lacks a\.json \(No such file.*\); copy the whole folder again"):
        opened(folder)


def test_other_masking_version_is_rejected(bundle):
    """The words of such a bundle mean something else; the pipeline rejects it before it reads any of its files."""
    other = Bundle(bundle.card.model_copy(update={"masking_version": MASKING_VERSION + 1}), {})
    message = f"bundle tiny was trained on masking version {MASKING_VERSION + 1}, this installation masks by version"
    with pytest.raises(BundleError, match=f"{message} {MASKING_VERSION}; retrain"):
        Triage(other)


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_other_schema_version_is_rejected(folder, version):
    change_card(folder, schema_version=version)
    with pytest.raises(BundleError, match=f"schema version {version}, this installation reads 2; rebuild"):
        opened(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{", b"[1,"])
def test_card_that_is_no_json_is_rejected(folder, content):
    (folder / CARD_NAME).write_bytes(content)
    with pytest.raises(BundleError, match=r"card\.json is not valid JSON"):
        opened(folder)


@pytest.mark.parametrize("content", [b"[]", b'"card"', b"1", b"{}"])
def test_json_that_is_no_card_is_rejected(folder, content):
    (folder / CARD_NAME).write_bytes(content)
    with pytest.raises(BundleError, match="schema version None"):
        opened(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["Pass"]}, "at least two labels"),
        ({"classifiers": {}}, "without classifiers has no labels"),
        ({"passing_label": "Good"}, "passing_label 'Good' is not one of the labels"),
        ({"review_below_confidence": 2}, "review_below_confidence: "),
        ({"files": ["a.json"]}, "files: "),
        ({"pickle": "x"}, "pickle: "),
    ],
)
def test_card_with_a_wrong_field_is_rejected(folder, changes, message):
    change_card(folder, **changes)
    with pytest.raises(BundleError, match=f"card.json: .*{message}"):
        opened(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/a.json", "..", ""])
def test_file_name_with_a_path_is_rejected(folder, name):
    """A card cannot make us read outside of its folder, not even with the right checksum."""
    (folder.parent / "secret").write_bytes(b"s")
    change_card(folder, files={name: bundle_module._digest(b"s")})
    with pytest.raises(BundleError, match=r"not a plain file name|lacks"):
        opened(folder)


def test_folder_without_card_is_rejected(tmp_path):
    with pytest.raises(BundleError, match=r"cannot be read: No such file or directory: card\.json"):
        opened(tmp_path)


def test_damaged_json_is_rejected(tmp_path):
    bundle = write_bundle(tmp_path / "b", CARD, {"a.json": b"{oops", "b.json": b"\xff"})
    with pytest.raises(BundleError, match=r"a\.json of bundle .* is not valid JSON"):
        bundle.json("a.json")
    with pytest.raises(BundleError, match=r"b\.json of bundle .* is not UTF-8"):
        bundle.json("b.json")


class Bomb:
    """Unpickling it leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_pickled_object_array_is_rejected(tmp_path):
    """Nothing in a bundle executes code: an array of objects is not unpickled."""
    target = tmp_path / "executed"
    data = npz(weights=np.array([Bomb(str(target))], dtype=object))
    with pytest.raises(BundleError, match="not a readable array file: Object arrays cannot be loaded"):
        write_bundle(tmp_path / "b", CARD, {"c.npz": data}).arrays("c.npz")
    assert not target.exists()
    with np.load(io.BytesIO(data), allow_pickle=True) as file:  # the bomb is live
        file["weights"][0].close()
    assert target.exists()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut", npz(a=np.zeros(99))[:200], npy(), b"text"])
def test_damaged_arrays_are_rejected(tmp_path, data):
    with pytest.raises(BundleError, match=r"c\.npz of bundle .* is not a readable array file"):
        write_bundle(tmp_path / "b", CARD, {"c.npz": data}).arrays("c.npz")


def test_arrays_are_read(tmp_path):
    arrays = write_bundle(tmp_path / "b", CARD, {"c.npz": npz(w=np.arange(3), b=np.ones((2, 1)))}).arrays("c.npz")
    assert arrays["w"].tolist() == [0, 1, 2]
    assert arrays["b"].shape == (2, 1)


def test_absent_file_says_how_to_rebuild(folder):
    with pytest.raises(BundleError, match=r"has no c\.npz; rebuild it"):
        opened(folder).arrays("c.npz")


@pytest.fixture
def bundle_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """An installed package with models, a checkout around it, and two folders of the settings."""
    package = tmp_path / "checkout" / "stream_triage"
    monkeypatch.setattr(bundle_module, "_PACKAGE_FOLDER", package)
    monkeypatch.chdir(tmp_path)
    return {
        "first": tmp_path / "first",
        "second": tmp_path / "second",
        "package": package / "models",
        "checkout": tmp_path / "checkout" / "models",
    }


def test_lookup_order(bundle_folders):
    """The settings' folders in their order, then the installed package, then the checkout."""
    for folder in bundle_folders.values():
        write_bundle(folder / "b", CARD, FILES)
    folders = [bundle_folders["first"], bundle_folders["second"]]
    assert searched_folders(folders) == list(bundle_folders.values())
    for folder in bundle_folders.values():
        assert find_bundle("b", folders) == folder / "b"
        (folder / "b" / CARD_NAME).unlink()
    with pytest.raises(BundleError):
        find_bundle("b", folders)


def test_path_of_a_bundle_goes_before_names(bundle_folders):
    write_bundle(bundle_folders["first"] / "b", CARD, FILES)
    write_bundle(Path("elsewhere") / "b", CARD, FILES)
    assert find_bundle("elsewhere/b", [bundle_folders["first"]]) == Path("elsewhere/b")


def test_name_of_a_folder_in_the_current_folder(bundle_folders):
    """It is found like a path, after the folders of bundles."""
    write_bundle(Path("mine"), CARD, FILES)
    assert find_bundle("mine", [bundle_folders["first"]]) == Path("mine")
    write_bundle(bundle_folders["package"] / "mine", CARD, FILES)
    assert find_bundle("mine") == bundle_folders["package"] / "mine"


def test_message_for_an_unknown_name_lists_the_known_ones(bundle_folders):
    """Each once, in whichever folder it is."""
    for where, name in [("first", "zeta"), ("package", "oai5g"), ("checkout", "oai5g")]:
        write_bundle(bundle_folders[where] / name, CARD, FILES)
    with pytest.raises(
        BundleError, match="there is no bundle called 'oai'; set `bundle` to oai5g, zeta or a folder with a card"
    ):
        find_bundle("oai", [bundle_folders["first"]])


def test_unknown_name_where_there_is_none_at_all(bundle_folders):
    with pytest.raises(BundleError, match="there is no bundle called 'oai5g'; no bundle is installed"):
        find_bundle("oai5g")


def test_default_bundle_is_found_from_any_folder(tmp_path, monkeypatch, shipped):
    monkeypatch.chdir(tmp_path)
    assert find_bundle("oai5g").is_absolute()
    assert shipped.card.passing_label in shipped.card.labels
