"""A JUnit XML file and verdicts in; the file with the verdicts as properties of its test cases out."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from xml.parsers import expat

from stream_triage.errors import InputError
from stream_triage.records import Verdict
from stream_triage.render.printable import without_colours

__all__ = ["with_verdicts"]

EVIDENCE_SHOWN = 3


def with_verdicts(data: bytes, verdict_of: Callable[[str], Verdict | None]) -> tuple[bytes, int]:
    """Adds properties `triage.…` to each test case that has a verdict; those of an earlier call are replaced.

    Args:
        data: The JUnit file. Results, and everything else in it, stay as they are.
        verdict_of: Returns the verdict of a test case: by its name, or else by class and name with a dot between.

    Returns:
        The new file, and the number of test cases with a verdict.

    Raises:
        InputError: The data is not XML, declares entities, or has no test case; the message begins with the verb.
    """
    _reject_entities(data)
    root = ET.fromstring(data)  # noqa: S314 - no entity is left that could be expanded
    cases = list(root.iter("testcase"))
    if not cases:
        raise InputError("has no test case; is it a JUnit file?")
    count = 0
    for case in cases:
        name, group = case.get("name", ""), case.get("classname", "")
        verdict = verdict_of(name) or verdict_of(f"{group}.{name}")
        if verdict is not None:
            _add(case, verdict)
            count += 1
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n", count


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


def _reject_entities(data: bytes) -> None:
    def reject(*_: object) -> None:
        raise InputError("declares entities, which a JUnit file does not need; remove them")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = reject
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(f"is not XML: {error}") from None
