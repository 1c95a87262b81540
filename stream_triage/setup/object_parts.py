"""A saved object of Dashboards in; the parts that a set-up merges out, and the other way round.

Parts are what people change one by one: the title, the format of a field, a panel of a dashboard. Attributes that contain
JSON as text are read, since Dashboards writes the same JSON in another order.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["assembled", "parts_of", "without_old_parts"]

_FORMAT, _PANEL, _REFERENCES = "format of ", "panel ", "references"
_FORMATS: Final = "fieldFormatMap"
_PANELS: Final = "panelsJSON"
_REFERENCE: Final = "panel_"
_META: Final = "kibanaSavedObjectMeta"
_SOURCE: Final = "searchSourceJSON"
_JSON: Final = ("visState", "uiStateJSON", "optionsJSON")
# Dashboards keeps the list of fields itself; people's scripted fields are in it.
_NOT_OURS: Final = ("fields",)
# Labels know `{{value}}` and `{{url}}`.
_OLD_LABEL: Final = '"labelTemplate": "{{rawValue}}"'
# What numbers the panels of a dashboard, written anew whenever a panel is added.
_NUMBERS: Final = ("panelIndex", "panelRefName", "version")

Parts = dict[str, Any]
SavedObject = Mapping[str, Any]


def parts_of(saved: SavedObject) -> Parts:
    """Returns the parts of an object by name."""
    parts: Parts = {}
    used: set[str] = set()
    for name, value in saved["attributes"].items():
        if name == _FORMATS:
            parts |= {_FORMAT + field: about for field, about in json.loads(value or "{}").items()}
        elif name == _PANELS:
            for key, panel, reference in _panels(saved):
                parts[key] = panel
                used.add(reference)
        elif name == _META:
            parts[_SOURCE] = json.loads((value or {}).get(_SOURCE) or "{}")
        elif name not in _NOT_OURS:
            parts[name] = json.loads(value or "{}") if name in _JSON else value
    # References of panels are numbered anew: one that no panel uses would stand in for another panel.
    others = sorted(
        [each["name"], each["type"], each["id"]]
        for each in saved["references"]
        if each["name"] not in used and not (_PANELS in saved["attributes"] and each["name"].startswith(_REFERENCE))
    )
    return parts | ({_REFERENCES: others} if others else {})


def _panels(saved: SavedObject) -> Iterator[tuple[str, Parts, str]]:
    """Each panel of a dashboard, by what it shows; last the name of its reference, if it has one."""
    references = {each["name"]: each for each in saved["references"]}
    seen: set[str] = set()
    for panel in json.loads(saved["attributes"][_PANELS] or "[]"):
        reference = panel.get("panelRefName", "")
        shows = references.get(reference)
        key = _PANEL + (f"{shows['type']} {shows['id']}" if shows else f"of its own {panel.get('panelIndex')}")
        while key in seen:  # the same visualisation twice on a board
            key += "'"
        seen.add(key)
        kept = {name: value for name, value in panel.items() if name not in _NUMBERS}
        kept["gridData"] = {name: value for name, value in panel.get("gridData", {}).items() if name != "i"}
        yield key, kept, reference if shows else ""


def without_old_parts(there: Parts, wanted: Parts, prefix: str) -> tuple[Parts, list[str]]:
    """Leaves out what an earlier version, which kept no copy, made and this one no longer has.

    That is panels that show objects of ours, and formats whose label no version of Dashboards can fill in.

    Returns:
        The other parts, and what was left out, in words.
    """
    panels = tuple(f"{_PANEL}{kind} {prefix}-" for kind in ("visualization", "search"))
    old = [
        name
        for name, part in there.items()
        if name not in wanted and (name.startswith(panels) or (name.startswith(_FORMAT) and _OLD_LABEL in json.dumps(part)))
    ]
    return {name: value for name, value in there.items() if name not in old}, [f"{name}: removed" for name in old]


def assembled(wanted: SavedObject, known: SavedObject | None, parts: Parts) -> dict[str, Any]:
    """Returns the object with these parts, to be imported in place of `known`."""
    attributes: Parts = {name: known["attributes"][name] for name in _NOT_OURS if known and name in known["attributes"]}
    references = [dict(zip(("name", "type", "id"), each, strict=True)) for each in parts.get(_REFERENCES, ())]
    formats, panels = ({name: part for name, part in parts.items() if name.startswith(start)} for start in (_FORMAT, _PANEL))
    for name, part in parts.items():
        if name == _SOURCE:
            attributes[_META] = {_SOURCE: json.dumps(part)}
        elif name != _REFERENCES and name not in formats and name not in panels:
            attributes[name] = json.dumps(part) if name in _JSON else part
    if formats:
        attributes[_FORMATS] = json.dumps({name.removeprefix(_FORMAT): part for name, part in formats.items()})
    if wanted["type"] == "dashboard":
        attributes[_PANELS] = json.dumps(list(_numbered(_apart(panels, parts_of(wanted)), references)))
    migrated = (known or {}).get("migrationVersion") or wanted["migrationVersion"]
    return {**wanted, "attributes": attributes, "references": references, "migrationVersion": migrated}


def _apart(panels: Parts, wanted: Parts) -> Parts:
    """Moves panels that people added below all others where one of ours now covers them."""
    ours = [panel for name, panel in panels.items() if name in wanted]
    bottom = max((panel["gridData"]["y"] + panel["gridData"]["h"] for panel in panels.values()), default=0)
    result = dict(panels)
    for name, panel in panels.items():
        if name not in wanted and any(_overlap(panel["gridData"], each["gridData"]) for each in ours):
            grid = panel["gridData"]
            result[name] = {**panel, "gridData": {**grid, "y": bottom}}
            bottom += grid["h"]
    return result


def _overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def _numbered(panels: Parts, references: list[dict[str, str]]) -> Iterator[Parts]:
    """The panels with their numbers; adds the references to what they show."""
    for number, (name, panel) in enumerate(panels.items()):
        numbered = {**panel, "panelIndex": str(number), "gridData": {**panel["gridData"], "i": str(number)}}
        if not name.startswith(f"{_PANEL}of its own "):
            kind, _, shown = name.removeprefix(_PANEL).rstrip("'").partition(" ")
            numbered["panelRefName"] = f"{_REFERENCE}{number}"
            references.append({"name": f"{_REFERENCE}{number}", "type": kind, "id": shown})
        yield numbered
