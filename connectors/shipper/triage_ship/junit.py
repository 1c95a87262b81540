"""The harness's own result out of a JUnit XML file."""

from pathlib import Path
from xml.parsers import expat

from triage_ship.errors import ShipError

__all__ = ["read_status"]

MOST_BYTES = 50 << 20


def read_status(path: Path, test_case: str | None) -> str:
    """`pass`, `fail`, `error` or `skipped`: of this test case, else the worst of all.

    A name fits as it stands, or with its class before it. Raises `ShipError` for a file without it.
    """
    cases: list[tuple[str, str, str]] = []
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "testcase":
            cases.append((attributes.get("classname", ""), attributes.get("name", ""), "pass"))
        elif tag in ("failure", "error", "skipped") and cases:
            cases[-1] = (*cases[-1][:2], {"failure": "fail"}.get(tag, tag))

    def refuse(*_: object) -> None:
        raise ShipError(f"{path} declares entities, which no JUnit file needs; it is not read")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
        if data is None:
            raise ShipError(f"{path} is larger than {MOST_BYTES >> 20} MiB; name the file of this run only")
        parser.Parse(data, True)
    except OSError as error:
        raise ShipError(f"{path} cannot be read: {error.strerror}") from None
    except expat.ExpatError as error:
        raise ShipError(f"{path} is not XML: {error}") from None
    fitting = [status for group, name, status in cases if test_case in (name, f"{group}.{name}", f"{group}::{name}")]
    found = fitting or [status for _, _, status in cases]
    if not found:
        raise ShipError(f"{path} has no test case")
    return next(status for status in ("error", "fail", "pass", "skipped") if status in found)
