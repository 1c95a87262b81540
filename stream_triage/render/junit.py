"""Verdicts go back into a JUnit XML file, as properties of its test cases: whatever reads such files shows them."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from xml.parsers import expat

from stream_triage.errors import InputError
from stream_triage.records import Verdict

__all__ = ["with_verdicts"]

EVIDENCE_SHOWN = 3


def with_verdicts(data: bytes, verdict_of: Callable[[str], Verdict | None]) -> tuple[bytes, int]:
    """The file with properties `triage.…` in each test case that has a verdict, and how many have one.

    `verdict_of` is asked by name, then by class and name with a dot between. Results and all else stay as they are; those
    properties of an earlier call are replaced. Raises `InputError` for what is no JUnit file.
    """
    _refuse_entities(data)
    root = ET.fromstring(data)  # noqa: S314 - so no entity is left to be expanded
    cases = list(root.iter("testcase"))
    if not cases:
        raise InputError("has no test case; is it a JUnit file?")
    told = 0
    for case in cases:
        name, group = case.get("name", ""), case.get("classname", "")
        verdict = verdict_of(name) or verdict_of(f"{group}.{name}")
        if verdict is not None:
            _add(case, verdict)
            told += 1
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n", told


def _add(case: ET.Element, verdict: Verdict) -> None:
    properties = case.find("properties")
    if properties is None:
        properties = ET.Element("properties")
        case.insert(0, properties)
    for old in [each for each in properties if each.get("name", "").startswith("triage.")]:
        properties.remove(old)
    for name, value in _told(verdict).items():
        ET.SubElement(properties, "property", {"name": f"triage.{name}", "value": _xml_text(value)})


def _told(verdict: Verdict) -> dict[str, str]:
    told = {
        "run.id": verdict.run_id,
        "label": verdict.label,
        "confidence": f"{verdict.confidence:.2f}",
        "anomaly_score": f"{verdict.anomaly_score:.2f}",
        "needs_review": str(verdict.needs_review).lower(),
    }
    told |= {"cause": verdict.cause} if verdict.cause else {}
    told |= {"team": verdict.team} if verdict.team else {}
    for number, item in enumerate(verdict.evidence[:EVIDENCE_SHOWN], 1):
        told[f"evidence.{number}"] = item.words()
    return told


def _xml_text(text: str) -> str:
    """XML has no control characters, not even escaped ones."""
    return "".join(char if _is_xml(char) else f"\\x{ord(char):02x}" for char in text)


def _is_xml(char: str) -> bool:
    return char in "\t\n" or (char >= " " and char not in "\ufffe\uffff" and not "\ud800" <= char <= "\udfff")


def _refuse_entities(data: bytes) -> None:
    def refuse(*_: object) -> None:
        raise InputError("declares entities, which no JUnit file needs; it is not read")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(f"is not XML: {error}") from None
