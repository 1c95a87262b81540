"""Index templates of what the sinks write: fields and settings of the indices that come, fields of those that are there.

`<prefix>-common` is part of all of them, and so is `<prefix>-custom`, which is made empty and never changed again: what a
farm sets there (replicas, shards, a field of its own) outranks ours.
"""

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

from stream_triage.clients.search import ResponseError, SearchServer
from stream_triage.errors import StoreError
from stream_triage.setup.changes import Changes

__all__ = ["KINDS", "make_index_templates"]

KINDS: Final = ("verdicts", "lines", "templates", "workers")
# Goes up with every change of the files in index_templates/.
TEMPLATES_VERSION: Final = 2
OWNER: Final = "stream-triage"


def make_index_templates(server: SearchServer, prefix: str, changes: Changes) -> None:
    """Raises `StoreError` where those of a later stream-triage are there: its workers need their fields."""
    common = _definition("common", prefix)
    _put(server, changes, "component template", "_component_template", f"{prefix}-common", common)
    custom = f"_component_template/{prefix}-custom"
    if not server.request("GET", custom) and changes.note(f"make component template {prefix}-custom"):
        server.request("PUT", custom, {"template": {}, "_meta": {"of": OWNER}})
    for kind in KINDS:
        wanted = _definition(kind, prefix)
        _put(server, changes, "index template", "_index_template", f"{prefix}-{kind}", wanted)
        fields = _merged(common["template"]["mappings"], wanted["template"]["mappings"])
        _add_fields(server, changes, wanted["index_patterns"][0], fields)


def _put(server: SearchServer, changes: Changes, what: str, place: str, name: str, wanted: dict[str, Any]) -> None:
    found = server.request("GET", f"{place}/{name}").get(f"{place[1:]}s", [])
    meta = found[0][place[1:]].get("_meta", {}) if found else {}
    if meta.get("version", 0) > TEMPLATES_VERSION:
        raise StoreError(f"the {what} {name} is of a later stream-triage; run `setup opensearch` of that one")
    if meta.get("digest") != wanted["_meta"]["digest"] and changes.note(f"{'change' if found else 'make'} {what} {name}"):
        server.request("PUT", f"{place}/{name}", wanted)


def _add_fields(server: SearchServer, changes: Changes, pattern: str, mapping: dict[str, Any]) -> None:
    """To indices that an earlier version made: what is written from now on can then be searched by them."""
    wanted = set(_names(mapping))
    for index, told in sorted(server.request("GET", f"{pattern}/_mapping").items()):
        missing = sorted(wanted - set(_names(told["mappings"])))
        if missing and changes.note(f"add {', '.join(missing)} to index {index}"):
            try:
                server.request("PUT", f"{index}/_mapping", {"properties": mapping["properties"]})
            except ResponseError as error:
                if error.status != 400:
                    raise
                changes.fail(f"index {index} has other kinds of fields and keeps them: {error}")


def _definition(kind: str, prefix: str) -> dict[str, Any]:
    text = (files("stream_triage.setup") / "index_templates" / f"{kind}.json").read_text()
    wanted: dict[str, Any] = json.loads(text.replace("<prefix>", prefix))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    wanted["_meta"] = {"digest": digest, "of": OWNER, "version": TEMPLATES_VERSION}
    return wanted


def _names(mapping: dict[str, Any], above: str = "") -> Iterator[str]:
    """Full names of the fields of a mapping."""
    for name, field in mapping.get("properties", {}).items():
        if "properties" in field:
            yield from _names(field, f"{above}{name}.")
        else:
            yield above + name


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both, all the way down."""
    both = [(name, one[name], other[name]) for name in one.keys() & other.keys()]
    return one | other | {name: _merged(a, b) for name, a, b in both if isinstance(a, dict) and isinstance(b, dict)}
