"""A name prefix in; index templates of verdicts, lines, templates and workers out, and their fields in existing indices.

The component template `<prefix>-common` is part of all index templates. So is `<prefix>-custom`, which is created empty and
never changed again: what a farm sets there (replicas, shards, a field of its own) overrides the rest.
"""

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final, NamedTuple

from stream_triage.clients.search import ResponseError, SearchServer
from stream_triage.errors import StoreError
from stream_triage.setup.changes import Changes

__all__ = ["KINDS", "create_index_templates"]

KINDS: Final = ("verdicts", "lines", "templates", "workers")
# Increase it with every change of the files in index_templates/.
TEMPLATES_VERSION: Final = 4
OWNER: Final = "stream-triage"


class _Endpoint(NamedTuple):
    """Where OpenSearch keeps templates of a kind, and their names in its responses and in messages."""

    path: str
    key: str
    words: str


_INDEX: Final = _Endpoint("_index_template", "index_template", "index template")
_COMPONENT: Final = _Endpoint("_component_template", "component_template", "component template")


def create_index_templates(server: SearchServer, prefix: str, changes: Changes) -> None:
    """Creates or updates the templates, and adds missing fields to indices of an earlier version.

    Raises:
        StoreError: A template is of a later version of the product, whose workers need its fields.
    """
    common = _definition("common", prefix)
    _put(server, changes, _COMPONENT, f"{prefix}-common", common)
    custom = f"{_COMPONENT.path}/{prefix}-custom"
    if not server.request("GET", custom) and changes.note(f"create component template {prefix}-custom"):
        server.request("PUT", custom, {"template": {}, "_meta": {"of": OWNER}})
    for kind in KINDS:
        wanted = _definition(kind, prefix)
        _put(server, changes, _INDEX, f"{prefix}-{kind}", wanted)
        fields = _merged(common["template"]["mappings"], wanted["template"]["mappings"])
        _add_fields(server, changes, wanted["index_patterns"][0], fields)


def _put(server: SearchServer, changes: Changes, endpoint: _Endpoint, name: str, wanted: dict[str, Any]) -> None:
    known = server.request("GET", f"{endpoint.path}/{name}").get(f"{endpoint.key}s", [])
    meta = known[0][endpoint.key].get("_meta", {}) if known else {}
    if meta.get("version", 0) > TEMPLATES_VERSION:
        raise StoreError(
            f"the {endpoint.words} {name} is of a later version of stream-triage; run its `setup opensearch` instead"
        )
    change = f"{'update' if known else 'create'} {endpoint.words} {name}"
    if meta.get("digest") != wanted["_meta"]["digest"] and changes.note(change, _difference(known, endpoint, wanted)):
        server.request("PUT", f"{endpoint.path}/{name}", wanted)


def _difference(known: list[dict[str, Any]], endpoint: _Endpoint, wanted: dict[str, Any]) -> list[str]:
    """Which fields a template gains and loses."""
    if not known:
        return []
    before, after = (set(_names(each.get("template", {}).get("mappings", {}))) for each in (known[0][endpoint.key], wanted))
    fields = (("new fields", after - before), ("no longer", before - after))
    return [f"{words}: {', '.join(sorted(names))}" for words, names in fields if names]


def _add_fields(server: SearchServer, changes: Changes, pattern: str, mapping: dict[str, Any]) -> None:
    """Adds fields to indices that an earlier version created, so that new documents can be searched by them."""
    wanted = set(_names(mapping))
    for index, known in sorted(server.request("GET", f"{pattern}/_mapping").items()):
        missing = sorted(wanted - set(_names(known["mappings"])))
        if missing and changes.note(f"add {', '.join(missing)} to index {index}"):
            try:
                server.request("PUT", f"{index}/_mapping", {"properties": mapping["properties"]})
            except ResponseError as error:
                if error.status != 400:
                    raise
                changes.fail(f"index {index} has other types of fields and keeps them: {error}")


def _definition(kind: str, prefix: str) -> dict[str, Any]:
    text = (files("stream_triage.setup") / "index_templates" / f"{kind}.json").read_text()
    wanted: dict[str, Any] = json.loads(text.replace("<prefix>", prefix))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    wanted["_meta"] = {"digest": digest, "of": OWNER, "version": TEMPLATES_VERSION}
    return wanted


def _names(mapping: dict[str, Any], parent: str = "") -> Iterator[str]:
    """Full names of the fields of a mapping."""
    for name, field in mapping.get("properties", {}).items():
        if "properties" in field:
            yield from _names(field, f"{parent}{name}.")
        else:
            yield parent + name


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both, merged at every level."""
    both = [(name, one[name], other[name]) for name in one.keys() & other.keys()]
    return one | other | {name: _merged(a, b) for name, a, b in both if isinstance(a, dict) and isinstance(b, dict)}
