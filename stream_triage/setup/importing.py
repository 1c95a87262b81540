"""Saved objects in; imported into OpenSearch Dashboards, without what people changed there being lost.

Only objects that differ are imported. What people save under names of their own is not touched. `object_parts.py` says what
of an object is merged.
"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.clients.http import opener
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.installed import Copy, Installed
from stream_triage.setup.merge import Merge, first_differences, merge
from stream_triage.setup.object_parts import assembled, parts_of, without_old_parts
from stream_triage.setup.saved_objects import ndjson, saved_objects

__all__ = ["import_dashboards"]

ERROR_CHARACTERS: Final = 300
_REMEDIES: Final = {
    401: "check opensearch.user and opensearch.password",
    403: "the user needs write access to saved objects",
}
SavedObject = Mapping[str, Any]


class _Plan(NamedTuple):
    """What becomes of one object."""

    wanted: SavedObject
    known: SavedObject | None
    merged: Merge
    copy: Copy

    @property
    def imported(self) -> bool:
        return self.known is None or bool(self.merged.changed)


def import_dashboards(settings: OpenSearchSettings, changes: Changes, installed: Installed) -> None:
    """Imports the objects that are missing or differ; notes in `changes` what was done or failed."""
    if settings.dashboards_url is None:
        changes.skip("dashboards: opensearch.dashboards_url is not set; or import the file that --export writes")
        return
    objects = saved_objects(settings)
    try:
        asked = [{"type": each["type"], "id": each["id"]} for each in objects]
        response = _request(settings, "_bulk_get", json.dumps(asked).encode(), "application/json")
        known = {(each["type"], each["id"]): each for each in response["saved_objects"] if "error" not in each}
        plans = [_plan(each, known.get((each["type"], each["id"])), settings, changes, installed) for each in objects]
        imported = [plan for plan in plans if plan.imported]
        if imported and changes.note(_words(settings, imported), _details(imported)):
            _import(settings, [assembled(plan.wanted, plan.known, plan.merged.parts) for plan in imported])
        copies = {_name(plan.wanted): plan.copy for plan in plans if plan.copy != installed.get(_name(plan.wanted))}
        if copies and not changes.dry_run:
            installed.put(copies)
    except (AttributeError, KeyError, TypeError) as error:
        changes.fail(f"dashboards: the response of {settings.dashboards_url} lacks {error}; is it OpenSearch Dashboards?")
    except ValueError as error:
        changes.fail(
            f"dashboards: an object in {settings.dashboards_url} contains no valid JSON: {error}; delete it, and repeat"
        )
    except StoreError as error:
        changes.fail(f"dashboards: {error}")


def _plan(
    wanted: SavedObject, known: SavedObject | None, settings: OpenSearchSettings, changes: Changes, installed: Installed
) -> _Plan:
    words, before = _title(wanted), installed.get(_name(wanted)) if known else None
    reset = changes.resets(words, wanted["id"], str(wanted["attributes"]["title"]))
    parts = parts_of(wanted)
    there, removed = parts_of(known) if known else parts, list[str]()
    if before is None:
        there, removed = without_old_parts(there, parts, settings.index_prefix)
    merged = merge(before, there, parts, loose=True, reset=reset)
    merged.changed += removed
    changes.keep(words, merged.kept.values())
    # Dashboards rewrites objects when it shows them, so the wanted parts are what later versions are compared with.
    return _Plan(wanted, known, merged, merged.copy(before, parts, parts))


def _name(saved: SavedObject) -> str:
    return f"{saved['type']}:{saved['id']}"


def _title(saved: SavedObject) -> str:
    return f"{saved['type']} {saved['attributes']['title']}"


def _words(settings: OpenSearchSettings, plans: Sequence[_Plan]) -> str:
    boards = [plan.wanted["attributes"]["title"] for plan in plans if plan.wanted["type"] == "dashboard"]
    return f"import {len(plans)} objects into {settings.dashboards_url}" + (f": {', '.join(boards)}" if boards else "")


def _details(plans: Sequence[_Plan]) -> list[str]:
    new = Counter(str(plan.wanted["type"]) for plan in plans if plan.known is None)
    created = [f"new: {count} of type {kind}" for kind, count in new.items()]
    return created + [
        f"{_title(plan.wanted)}: {change}"
        for plan in plans
        if plan.known
        for change in first_differences(plan.merged.changed)
    ]


def _import(settings: OpenSearchSettings, objects: Sequence[SavedObject]) -> None:
    from urllib3.filepost import encode_multipart_formdata  # belongs to the extra opensearch

    body, content_type = encode_multipart_formdata({"file": ("triage.ndjson", ndjson(objects), "application/ndjson")})
    response = _request(settings, "_import?overwrite=true", body, content_type)
    if not response["success"]:
        errors = json.dumps(response.get("errors"))[:ERROR_CHARACTERS]
        raise StoreError(f"Dashboards rejected some objects: {errors}")


def _request(settings: OpenSearchSettings, path: str, body: bytes, content_type: str) -> Any:
    """Sends one request to the API of saved objects; raises `StoreError` with the remedy."""
    address = str(settings.dashboards_url).rstrip("/")
    headers = {"Content-Type": content_type, "osd-xsrf": "stream-triage", "securitytenant": "global"}
    if settings.user is not None and settings.password is not None:
        pair = f"{settings.user}:{settings.password.get_secret_value()}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file) if address.startswith("https:") else None
        request = urllib.request.Request(f"{address}/api/saved_objects/{path}", body, headers)  # noqa: S310 - http(s), by the setting
        with opener(context).open(request, timeout=settings.timeout_seconds) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        remedy = _REMEDIES.get(error.code, "check opensearch.dashboards_url")
        raise StoreError(f"{settings.dashboards_url} responded with status {error.code}; {remedy}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise StoreError(
            f"no valid response from {settings.dashboards_url}: {reason}; check opensearch.dashboards_url"
        ) from None
