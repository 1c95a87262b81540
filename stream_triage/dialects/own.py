"""Files of a user's own dialects in, their tables out.

Two places name such files: the setting `dialects`, and the folder `dialects` in the folder of the bundle. Neither is part of
the bundle, so its card and its checksums do not know them.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stream_triage.dialects.table import DialectTable, checked_dialect, procedures
from stream_triage.errors import SettingsError

__all__ = ["dialect_files", "load_dialect", "load_dialects"]

FOLDER: Final = "dialects"
"""Name of the folder for dialects in the folder of a bundle."""


def dialect_files(named: Sequence[Path], bundle: Path) -> list[Path]:
    """The files that the setting names, then those in the folder of the bundle, by name; each file once.

    Raises:
        SettingsError: The folder for dialects cannot be read.
    """
    try:
        beside = sorted(path for path in (bundle / FOLDER).iterdir() if path.suffix == ".toml" and path.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        beside = []
    except OSError as error:
        raise SettingsError(f"{bundle / FOLDER} cannot be read: {error.strerror}; mend its rights, or remove it") from None
    files: dict[Path, Path] = {}
    for path in [*named, *beside]:
        files.setdefault(path.resolve(), path)
    return list(files.values())


def load_dialect(path: Path) -> DialectTable:
    """The dialect of one file.

    Raises:
        SettingsError: The file cannot be read, is not TOML, or is no dialect; the message says where.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        remedy = "check the setting dialects, or --dialect"
        raise SettingsError(f"dialect {path} cannot be read: {error.strerror}; {remedy}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"dialect {path} is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"dialect {path} is not TOML: it is nested too deeply") from None
    return checked_dialect(data, str(path))


def load_dialects(files: Sequence[Path]) -> tuple[DialectTable, ...]:
    """The dialects of several files, which are used together.

    Raises:
        SettingsError: One of them cannot be used, or two contradict each other; the message names both.
    """
    tables, by_name, known = [], dict[str, Path](), procedures()
    for path in files:
        table = load_dialect(path)
        if table.name in by_name:
            raise SettingsError(
                f"{by_name[table.name]} and {path} are both called {table.name!r}; rename one, or leave one out"
            )
        try:
            known = known.extended(table.procedures)
        except ValueError as error:
            others = ", ".join(str(other) for other in by_name.values())
            raise SettingsError(f"dialect {path}, beside {others}: {error}") from None
        by_name[table.name] = path
        tables.append(table)
    return tuple(tables)
