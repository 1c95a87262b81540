"""Checks that optional packages are installed before a command starts its work.

The libraries for networks, boosted trees, pictures and experiment tracking take gigabytes of disk and seconds to import.
Modules import them where they are used, so a command checks first that they are there.
"""

from importlib.util import find_spec

__all__ = ["REMEDY", "MissingPackageError", "require"]

REMEDY = "run `make setup-training` in a checkout"


class MissingPackageError(Exception):
    """A package that a command needs is not installed; the message names the remedy."""


def require(*names: str) -> None:
    """Raises `MissingPackageError` for the first of these modules that is not installed.

    Nothing is imported: torch reads its number of threads from the environment when it is imported, and training sets that
    number later.
    """
    for name in names:
        if not _is_installed(name):
            raise MissingPackageError(f"{name} is not installed; {REMEDY}")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
