"""A folder in, a checked model bundle out: everything that turns lines into a verdict.

Every file is listed in `card.json` with its SHA-256, and nothing is used before its checksum is compared. Nothing in a
bundle can execute code: text is JSON, numbers are `.npz` arrays read with `allow_pickle=False`, networks are ONNX files read
from memory.
"""

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_triage.errors import BundleError
from stream_triage.records import UNKNOWN

__all__ = [
    "AUTO",
    "CARD_NAME",
    "CARD_SCHEMA_VERSION",
    "Bundle",
    "Card",
    "find_bundle",
    "find_bundles",
    "replaceable_files",
    "searched_folders",
    "write_bundle",
]

CARD_NAME = "card.json"
AUTO = "auto"
"""Stands for the bundle that knows the lines of a run."""
CARD_SCHEMA_VERSION: Literal[2] = 2
_PACKAGE_FOLDER = Path(__file__).parent


class Card(BaseModel):
    """What a bundle contains, what it was made from, and its scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = CARD_SCHEMA_VERSION
    name: str
    version: str
    description: str = ""
    labels: tuple[str, ...] = Field(default=(), description="none if the bundle only reduces logs")
    passing_label: str = ""
    masking_version: int
    numbers: Literal["magnitude", "removed", "valued"] = Field(
        default="magnitude", description="what masking keeps of a number; see stages/normalise.py"
    )
    classifiers: dict[Literal["terms", "procedures", "charcnn"], float] = Field(
        description="the classifiers that decide, each with its share in the label scores; the shares add up to 1. None for "
        "a bundle without labels, which only reduces logs",
    )
    temperature: float = Field(
        default=1.0, gt=0, description="the combined scores are divided by it, so that probabilities are calibrated"
    )
    detectors: tuple[Literal["profile", "next_key"], ...] = Field(
        default=("profile",),
        description="the detectors that the anomaly score is made from, `profile` among them. None for a bundle that was "
        "made from no passing runs: its score is always 0, and it has no templates",
    )
    review_below_confidence: float = Field(
        ge=0, le=1, description="a verdict less confident than this is marked `needs_review`"
    )
    review_below_known_share: float = Field(
        ge=0, le=1, description="a run with a smaller share of known lines is marked `needs_review`"
    )
    files: dict[str, str] = Field(description="file name to SHA-256")
    training: dict[str, Any] = Field(default_factory=dict, description="data, with source and fingerprint, seed, versions")
    scores: dict[str, Any] = Field(default_factory=dict, description="held-out scores, written by training/evaluate.py")

    @model_validator(mode="after")
    def _holds_together(self) -> "Card":
        if not self.classifiers:
            if self.labels or self.passing_label or self.detectors:
                raise ValueError("a bundle without classifiers has no labels and no detectors")
            return self
        if len(self.labels) < 2:
            raise ValueError("a bundle with classifiers needs at least two labels")
        if self.passing_label not in self.labels:
            raise ValueError(f"passing_label {self.passing_label!r} is not one of the labels")
        if UNKNOWN in self.labels:
            raise ValueError(f"label {UNKNOWN!r} is given to runs in which nothing speaks; no bundle may be trained on it")
        if min(self.classifiers.values()) < 0 or abs(sum(self.classifiers.values()) - 1) > 1e-6:
            raise ValueError("shares of the classifiers must not be below 0, and must add up to 1")
        if "profile" not in self.detectors and (self.detectors or set(self.classifiers) != {"procedures"}):
            raise ValueError("detectors must name `profile`, unless procedures are the only classifier")
        return self


class Bundle:
    """The content of a bundle, with its checksums compared.

    Args:
        card: The card.
        files: Content by file name.
        location: Where the bundle comes from, for error messages.
    """

    def __init__(self, card: Card, files: Mapping[str, bytes], location: str = "memory") -> None:
        self.card = card
        self.location = location
        self._files = dict(files)

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Reads and checks a bundle.

        Raises:
            BundleError: If there is no card, if the card is not valid or has another schema version, or if a file is missing
                or changed.
        """
        card = _read_card(folder)
        return cls(card, {name: _read_checked(folder, name, digest) for name, digest in card.files.items()}, str(folder))

    def json(self, name: str) -> Any:
        """The content of a JSON file."""
        try:
            return json.loads(self.text(name))
        except ValueError as error:
            raise BundleError(f"{name} of bundle {self.location} is not valid JSON: {error}") from None

    def text(self, name: str) -> str:
        """The content of a UTF-8 file."""
        try:
            return self.data(name).decode()
        except UnicodeDecodeError as error:
            raise BundleError(f"{name} of bundle {self.location} is not UTF-8 text: {error}") from None

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of an `.npz` file. Arrays of objects are rejected, since they could execute code."""
        try:
            with np.load(io.BytesIO(self.data(name)), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{name} of bundle {self.location} is not a readable array file: {error}") from None

    def data(self, name: str) -> bytes:
        """The content of a file. This and the methods above raise `BundleError` if the file is missing or not readable."""
        if name not in self._files:
            raise BundleError(f"bundle {self.location} has no {name}; rebuild it with the command in models/README.md")
        return self._files[name]


def searched_folders(folders: Sequence[Path] = ()) -> list[Path]:
    """Folders in which bundles are looked up by name, in this order; `folders` come first."""
    return [*folders, _PACKAGE_FOLDER / "models", _PACKAGE_FOLDER.parent / "models"]


def find_bundle(name: str, folders: Sequence[Path] = ()) -> Path:
    """The folder of a bundle.

    A plain name is first looked up in the folders of bundles, then in the current folder, so that a folder that happens to
    lie there never replaces the bundle that the name usually stands for.

    Args:
        name: Name of the bundle, or path of its folder.
        folders: Folders to search before those that come with stream-triage.

    Raises:
        BundleError: If there is no such bundle. The message names those that exist.
    """
    path = Path(name).expanduser()
    if ("/" in name or name in (".", "..")) and (path / CARD_NAME).is_file():
        return path
    searched = searched_folders(folders)
    for folder in searched:
        if (folder / name / CARD_NAME).is_file():
            return folder / name
    if (path / CARD_NAME).is_file():
        return path
    known = sorted({card.parent.name for folder in searched for card in folder.glob(f"*/{CARD_NAME}")})
    remedy = f"set `bundle` to {', '.join(known)} or a folder with a card.json" if known else "no bundle is installed"
    raise BundleError(f"there is no bundle called {name!r}; {remedy}")


def find_bundles(folders: Sequence[Path] = ()) -> list[Path]:
    """The folders of all bundles that can be looked up by name, in the order in which they are looked up."""
    found: dict[str, Path] = {}
    for folder in searched_folders(folders):
        for card in sorted(folder.glob(f"*/{CARD_NAME}")):
            found.setdefault(card.parent.name, card.parent)
    return list(found.values())


def write_bundle(folder: Path, card: Card, files: Mapping[str, bytes]) -> Bundle:
    """Writes a bundle, with the checksums of its files in the card. An older bundle in the folder is replaced.

    The files are written to a temporary folder and then moved over the old ones, the card last. An error or interrupt leaves
    the old bundle. A process that is killed while it moves files leaves a bundle that does not match its checksums.

    Raises:
        BundleError: If the folder contains something else, or cannot be written.
    """
    card = card.model_copy(update={"files": {name: _digest(data) for name, data in sorted(files.items())}})
    old = replaceable_files(folder)
    content = {**files, CARD_NAME: (card.model_dump_json(indent=2) + "\n").encode()}
    fresh = not folder.exists()
    written = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Inside the folder, so that it is on the same file system and files can be moved.
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as staging:
            _write_and_move(Path(staging), folder, content, old)
        written = True
    except OSError as error:
        raise BundleError(f"bundle {folder} cannot be written: {error.strerror or error}") from None
    finally:
        if fresh and not written:
            with suppress(OSError):
                folder.rmdir()
    return Bundle(card, files, str(folder))


def replaceable_files(folder: Path) -> frozenset[str]:
    """The files of the bundle in this folder, as its card lists them; none if the folder is new or empty.

    Raises:
        BundleError: If the folder contains something else, which must not be removed.
    """
    try:
        names = {path.name for path in folder.iterdir()}
        raw = json.loads((folder / CARD_NAME).read_bytes()) if CARD_NAME in names else None
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise BundleError(f"{folder} cannot take a bundle: {error.strerror}; name another folder") from None
    except ValueError:
        raw = None
    listed = raw.get("files") if isinstance(raw, dict) else None
    if names and not isinstance(listed, dict):
        raise BundleError(f"{folder} is not empty and holds no bundle with a card.json; name a new or empty folder")
    return frozenset(name for name in {*(listed or ()), CARD_NAME} if name in names and (folder / name).is_file())


def _write_and_move(staging: Path, folder: Path, content: Mapping[str, bytes], old: Collection[str]) -> None:
    """Writes `content` to `staging`, then moves it to `folder`. Restores the `old` files if that fails."""
    kept = staging / "old"
    kept.mkdir()
    before = [name for name in {*content, *old} if (folder / name).is_file()]
    for name in before:
        shutil.copy2(folder / name, kept / name)
    for name, data in content.items():
        (staging / name).write_bytes(data)
    try:
        for name in content:
            (staging / name).replace(folder / name)
        for name in set(old) - set(content):
            (folder / name).unlink()
    except BaseException:
        for name in content:
            if name not in before:
                (folder / name).unlink(missing_ok=True)
        for name in before:
            (kept / name).replace(folder / name)
        raise


def _read_card(folder: Path) -> Card:
    try:
        raw = json.loads((folder / CARD_NAME).read_bytes())
    except OSError as error:
        raise BundleError(f"bundle {folder} cannot be read: {error.strerror}: {CARD_NAME}") from None
    except ValueError as error:
        raise BundleError(f"{folder / CARD_NAME} is not valid JSON: {error}") from None
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != CARD_SCHEMA_VERSION:
        raise BundleError(
            f"{folder / CARD_NAME} has schema version {version}, this installation reads {CARD_SCHEMA_VERSION}; "
            "rebuild the bundle or install a matching version"
        )
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise BundleError(f"{folder / CARD_NAME}: {field + ': ' if field else ''}{first['msg']}") from None


def _read_checked(folder: Path, name: str, digest: str) -> bytes:
    if Path(name).name != name:
        raise BundleError(f"{folder / CARD_NAME} lists {name!r}, which is not a plain file name")
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {folder} lacks {name} ({error.strerror}); copy the whole folder again") from None
    if _digest(data) != digest:
        raise BundleError(f"{name} in bundle {folder} does not match its checksum; copy the whole folder again")
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
