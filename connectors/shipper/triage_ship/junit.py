"""A JUnit XML file goes in; the result that the test harness reported for a test case comes out."""

from pathlib import Path
from xml.parsers import expat

from triage_ship.errors import ShipError
from triage_ship.xml_text import readable

__all__ = ["read_status"]

MAX_BYTES = 50 << 20
_NAMED_CLASSES = 5


def read_status(path: Path, test_case: str | None) -> str:
    """Returns `pass`, `fail`, `error` or `skipped`: the worst result of the matching test cases.

    Args:
        path: The JUnit file.
        test_case: Name of the test case, with or without its class. If the file has no such case, or this is None, all
            cases match.

    Raises:
        ShipError: The file cannot be read, is not XML, contains no test case, declares entities (a way to attack XML
            parsers that no JUnit file needs) or is larger than 50 MiB. Or several classes have a test case of this name,
            with different results.
    """
    cases = _cases(path)
    if not cases:
        raise ShipError(f"{path} has no test case")
    matching = [case for case in cases if test_case in (f"{case[0]}.{case[1]}", f"{case[0]}::{case[1]}")]
    if not matching:
        matching = [case for case in cases if case[1] == test_case]
        classes = sorted({case[0] for case in matching})
        if len({_worst([case for case in matching if case[0] == name]) for name in classes}) > 1:
            raise ShipError(
                f"{path} has the test case {test_case} in several classes ({', '.join(classes[:_NAMED_CLASSES])}); name it "
                f"with its class, for example --test-case {classes[0]}.{test_case}"
            )
    return _worst(matching or cases)


def _worst(cases: list[tuple[str, str, str]]) -> str:
    statuses = {status for _, _, status in cases}
    return next(status for status in ("error", "fail", "pass", "skipped") if status in statuses)


def _cases(path: Path) -> list[tuple[str, str, str]]:
    """Class, name and result of each test case."""
    cases: list[tuple[str, str, str]] = []
    parser = expat.ParserCreate("utf-8")

    def start_element(tag: str, attributes: dict[str, str]) -> None:
        if tag == "testcase":
            cases.append((attributes.get("classname", ""), attributes.get("name", ""), "pass"))
        elif tag in ("failure", "error", "skipped") and cases:
            cases[-1] = (*cases[-1][:2], {"failure": "fail"}.get(tag, tag))

    def reject_entity(*_: object) -> None:
        raise ShipError(f"{path} declares entities, which JUnit files do not need; remove the DOCTYPE to have it read")

    parser.StartElementHandler = start_element
    parser.EntityDeclHandler = reject_entity
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ShipError(f"{path} is larger than {MAX_BYTES >> 20} MiB; use a file with the results of this run only")
        parser.Parse(readable(path.read_bytes())[0], True)
    except OSError as error:
        raise ShipError(f"{path} cannot be read: {error.strerror}") from None
    except expat.ExpatError as error:
        raise ShipError(f"{path} is not XML: {error}") from None
    except ValueError as error:
        raise ShipError(f"{path} {error}") from None
    return cases
