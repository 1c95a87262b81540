"""A JUnit XML file and verdicts in; the file with the verdicts as properties of its test cases out."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import NamedTuple
from xml.parsers import expat

from stream_triage.errors import InputError
from stream_triage.records import Verdict
from stream_triage.render.printable import without_colours
from stream_triage.render.xml_text import readable

__all__ = ["JudgedFile", "with_verdicts"]

EVIDENCE_SHOWN = 3
CLASSES_SHOWN = 5
# Elements within each other; a JUnit file has about five.
MAX_DEPTH = 200


class JudgedFile(NamedTuple):
    """A JUnit file with verdicts."""

    data: bytes
    """In UTF-8."""
    matched: int
    """Test cases with a verdict."""
    replaced: int
    """Characters that were replaced because XML forbids them or the encoding does not have them."""
    ambiguous: dict[str, list[str]]
    """Names of test cases whose verdict was not added because several classes have them, with these classes."""


def with_verdicts(data: bytes, verdict_of: Callable[[str], Verdict | None]) -> JudgedFile:
    """Adds properties `triage.…` to each test case that has a verdict; those of an earlier call are replaced.

    Args:
        data: The JUnit file, in any encoding. Results, and everything else in it, stay as they are.
        verdict_of: Returns the verdict of a test case: by class and name with `.` or `::` between, or else by its name
            alone, if no other class of the file has a test case of this name.

    Raises:
        InputError: The data is not XML, declares entities or an unknown encoding, or has no test case; the message begins
            with the verb.
    """
    try:
        data, replaced = readable(data)
    except ValueError as error:
        raise InputError(str(error)) from None
    _check(data)
    root = ET.fromstring(data)  # noqa: S314 - no entity is left that could be expanded
    cases = list(root.iter("testcase"))
    if not cases:
        raise InputError("has no test case; is it a JUnit file?")
    classes: dict[str, set[str]] = {}
    for case in cases:
        classes.setdefault(case.get("name", ""), set()).add(case.get("classname", ""))
    matched, ambiguous = 0, dict[str, list[str]]()
    for case in cases:
        name, group = case.get("name", ""), case.get("classname", "")
        verdict = verdict_of(f"{group}.{name}") or verdict_of(f"{group}::{name}")
        if verdict is None and (by_name := verdict_of(name)):
            if len(classes[name]) > 1:
                ambiguous[name] = sorted(classes[name])[:CLASSES_SHOWN]
            else:
                verdict = by_name
        if verdict is not None:
            _add(case, verdict)
            matched += 1
    ET.indent(root, " ")
    written = ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    return JudgedFile(written, matched, replaced, ambiguous)


def _add(case: ET.Element, verdict: Verdict) -> None:
    properties = case.find("properties")
    if properties is None:
        properties = ET.Element("properties")
        case.insert(0, properties)
    for old in [each for each in properties if each.get("name", "").startswith("triage.")]:
        properties.remove(old)
    for name, value in _properties(verdict).items():
        ET.SubElement(properties, "property", {"name": f"triage.{name}", "value": _xml_text(value)})


def _properties(verdict: Verdict) -> dict[str, str]:
    properties = {
        "run.id": verdict.run_id,
        "label": verdict.label,
        "confidence": f"{verdict.confidence:.2f}",
        "anomaly_score": f"{verdict.anomaly_score:.2f}",
        "needs_review": str(verdict.needs_review).lower(),
    }
    properties |= {"why": without_colours(verdict.why)} if verdict.why else {}
    properties |= {"cause": verdict.cause} if verdict.cause else {}
    properties |= {"team": verdict.team} if verdict.team else {}
    for number, item in enumerate(verdict.evidence[:EVIDENCE_SHOWN], 1):
        properties[f"evidence.{number}"] = without_colours(item.words())
    return properties


def _xml_text(text: str) -> str:
    """Shows control characters as codes, since XML allows none of them, not even escaped."""
    return "".join(char if _is_xml(char) else f"\\x{ord(char):02x}" for char in text)


def _is_xml(char: str) -> bool:
    return char in "\t\n" or (char >= " " and char not in "\ufffe\uffff" and not "\ud800" <= char <= "\udfff")


def _check(data: bytes) -> None:
    """Rejects entities, with which a small file becomes huge, and depths at which writing the file would fail."""
    depth = 0

    def reject(*_: object) -> None:
        raise InputError("declares entities, which a JUnit file does not need; remove them")

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"has more than {MAX_DEPTH} elements within each other; is it a JUnit file?")

    def end(*_: object) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.EntityDeclHandler, parser.StartElementHandler, parser.EndElementHandler = reject, start, end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(f"is not XML: {error}") from None
