"""An OpenSearch server in memory: requests in, responses with the status and JSON of a real server out."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from stream_triage.clients.memory.index import MemoryIndex, StoredDocument
from stream_triage.clients.memory.mapping import FieldMappings, RequestError
from stream_triage.clients.memory.query import aggregate, matcher, page, shown_source, sort_values
from stream_triage.clients.memory.templates import KINDS, IndexTemplates
from stream_triage.clients.search import TOO_LARGE, Document, Response, ResponseError, bulk_body
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError

__all__ = ["MemorySearchServer"]

MAX_ID_BYTES: Final = 512
_BUSY: Final = "too_many_requests"

Parameters = Mapping[str, str]


class MemorySearchServer:
    """A `SearchServer` without a server. Not for several threads at once.

    It implements the requests that this project sends. Any other gets status 400, as if the plugin for it was missing.
    Searches see a document only after a refresh, external versions are compared, and values are checked against the mapping.

    Attributes:
        available: While False, every request fails as if no server was listening.
        statuses: HTTP statuses of the next responses. The requests are not carried out.
        item_response: Called with each document of a bulk request. If it returns a response, the document is not written.
        requests: Method and path of every request so far.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.available = True
        self.statuses: deque[int] = deque()
        self.item_response: Callable[[Document], Response | None] = lambda document: None
        self.requests: list[tuple[str, str]] = []
        self._clock = clock or SystemClock()
        self._indices: dict[str, MemoryIndex] = {}
        self._templates = IndexTemplates()
        self._views: dict[str, dict[str, dict[str, StoredDocument]]] = {}

    @property
    def open_views(self) -> int:
        """Number of points in time that were opened and not deleted."""
        return len(self._views)

    def bulk(self, documents: Sequence[Document]) -> list[Response]:
        """Writes documents; returns one response for each."""
        status, content = self._respond("POST", "_bulk", bulk_body(documents))
        if status == 200:
            return [Response.from_item(item) for item in content["items"]]
        if status in (429, TOO_LARGE) or status >= 500:
            return [Response(status, f"status {status}")] * len(documents)
        raise _error(status, content)

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Carries out one request and returns the JSON of the response; empty for status 404."""
        status, content = self._respond(method, path, b"" if body is None else json.dumps(body).encode())
        if status == 404:
            return {}
        if status >= 300:
            raise _error(status, content)
        return content

    def close(self) -> None:
        """Keeps all documents: another process would find them too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def handle(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Carries out one request; returns the HTTP status and the JSON of the response."""
        self.requests.append((method, path))
        if self.statuses:
            status = self.statuses.popleft()
            return status, {"status": status, "error": {"type": _BUSY, "reason": "taken from `statuses`"}}
        address = urlsplit(f"/{path.lstrip('/')}")
        segments = [unquote(segment) for segment in address.path.split("/")[1:]]
        parameters = {name: values[-1] for name, values in parse_qs(address.query).items()}
        try:
            content = self._carry_out(method, segments, parameters, body)
        except RequestError as error:
            return error.status, {"status": error.status, "error": error.error}
        copied: dict[str, Any] = json.loads(json.dumps(content))
        return 200, copied

    def _respond(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if not self.available:
            self.requests.append((method, path))
            raise ResponseError("the OpenSearch in memory is switched off; set `available`")
        return self.handle(method, path, body)

    def _carry_out(self, method: str, segments: list[str], parameters: Parameters, body: bytes) -> dict[str, Any]:
        if segments == ["_bulk"]:
            return self._bulk(body)
        content: dict[str, Any] = json.loads(body) if body else {}
        if not segments[0].startswith("_"):
            return self._request_of_indices(method, segments[0], "/".join(segments[1:]), content, parameters)
        match method, segments:
            case "GET" | "PUT", [kind, name] if kind in KINDS:
                return self._templates.get(kind, name) if method == "GET" else self._templates.put(kind, name, content)
            case "POST", ["_mget"]:
                return {"docs": [self._get(about) for about in content["docs"]]}
            case "POST", ["_search"]:
                return self._search(self._view(content["pit"]["id"]), content, parameters)
            case "DELETE", ["_search", "point_in_time", *every]:
                return self._delete_views(list(self._views) if every else content["pit_id"])
        raise _no_handler(method, segments)

    def _request_of_indices(
        self, method: str, pattern: str, action: str, content: dict[str, Any], parameters: Parameters
    ) -> dict[str, Any]:
        if (method, action) == ("PUT", ""):
            return self._create(pattern, content)
        handlers: dict[tuple[str, str], Callable[[list[MemoryIndex], dict[str, Any], Parameters], dict[str, Any]]] = {
            ("DELETE", ""): self._delete_indices,
            ("GET", "_field_caps"): _field_capabilities,
            ("GET", "_mapping"): _mappings,
            ("POST", "_count"): self._count,
            ("POST", "_delete_by_query"): self._delete_by_query,
            ("POST", "_refresh"): _refresh,
            ("POST", "_search"): self._search_indices,
            ("POST", "_search/point_in_time"): self._open_view,
            ("PUT", "_mapping"): _add_fields,
        }
        if (method, action) not in handlers:
            raise _no_handler(method, [pattern, action])
        return handlers[method, action](self._matching(pattern), content, parameters)

    def _matching(self, pattern: str) -> list[MemoryIndex]:
        """Indices by name. Raises `RequestError` for a name without a wildcard that does not exist."""
        matching: dict[str, MemoryIndex] = {}
        for part in pattern.split(","):
            names = [name for name in sorted(self._indices) if fnmatchcase(name, part)]
            if not names and "*" not in part:
                raise RequestError(404, "index_not_found_exception", f"no such index [{part}]")
            matching |= {name: self._indices[name] for name in names}
        return list(matching.values())

    def _create(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if name in self._indices:
            raise RequestError(400, "resource_already_exists_exception", f"index [{name}] already exists")
        self._indices[name] = self._new_index(name, content)
        return {"acknowledged": True}

    def _new_index(self, name: str, own: Mapping[str, Any]) -> MemoryIndex:
        definition = self._templates.definition_of(name, own)
        settings = definition.get("settings", {})
        shards = int(settings.get("number_of_shards", settings.get("index", {}).get("number_of_shards", 1)))
        return MemoryIndex(name, FieldMappings(definition.get("mappings", {})), shards, self._clock)

    def _delete_indices(self, indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
        for index in indices:
            del self._indices[index.name]
        return {"acknowledged": True}

    def _bulk(self, body: bytes) -> dict[str, Any]:
        lines = body.splitlines()
        actions = [json.loads(line)["index"] for line in lines[::2]]
        if any(action.get("version_type") != "external" for action in actions):
            reason = "internal versioning can not be used for optimistic concurrency control"
            raise RequestError(400, "action_request_validation_exception", reason)
        documents = [
            Document(action["_index"], action["_id"], action["version"], source)
            for action, source in zip(actions, lines[1::2], strict=True)
        ]
        too_long = [document.id for document in documents if len(document.id.encode(errors="replace")) > MAX_ID_BYTES]
        if too_long:
            reason = f"id [{too_long[0]}] is too long, must be no longer than {MAX_ID_BYTES} bytes"
            raise RequestError(400, "action_request_validation_exception", reason)
        return {"items": [{"index": self._write(document)} for document in documents]}

    def _write(self, document: Document) -> dict[str, Any]:
        about = {"_index": document.index, "_id": document.id}
        given = self.item_response(document)
        if given is not None:
            kind, _, reason = given.reason.partition(": ")
            return {**about, "status": given.status, "error": {"type": kind, "reason": reason}}
        if document.index not in self._indices:
            self._indices[document.index] = self._new_index(document.index, {})
        try:
            created = self._indices[document.index].write(document.id, document.version, json.loads(document.body))
        except RequestError as error:
            return {**about, "status": error.status, "error": error.error}
        return {**about, "_version": document.version, "status": 201 if created else 200}

    def _get(self, about: Mapping[str, str]) -> dict[str, Any]:
        """The latest version of a document, whether searches see it yet or not."""
        index = self._indices.get(about["_index"])
        document = index.latest.get(about["_id"]) if index else None
        return {**about, "found": False} if document is None else {**about, "found": True, "_version": document.version}

    def _matches(self, indices: Iterable[MemoryIndex], query: Mapping[str, Any]) -> list[StoredDocument]:
        matches = matcher(query, self._clock.now())
        return [document for index in indices for document in index.visible.values() if matches(document)]

    def _count(self, indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
        return {"count": len(self._matches(indices, content["query"]))}

    def _delete_by_query(
        self, indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters
    ) -> dict[str, Any]:
        results = [self._indices[seen.index].delete(seen) for seen in self._matches(indices, content["query"])]
        conflicts = results.count(False)
        if conflicts and parameters.get("conflicts") != "proceed":
            raise RequestError(409, "version_conflict_engine_exception", f"{conflicts} documents were changed meanwhile")
        if parameters.get("refresh") == "true":
            for index in indices:
                index.refresh()
        return {"deleted": results.count(True), "version_conflicts": conflicts, "failures": [], "timed_out": False}

    def _open_view(self, indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
        name = f"view-{len(self.requests)}"
        self._views[name] = {index.name: index.visible for index in indices}
        return {"pit_id": name}

    def _view(self, name: str) -> dict[str, dict[str, StoredDocument]]:
        if name not in self._views:
            raise RequestError(404, "search_context_missing_exception", f"No search context found for id [{name}]")
        return self._views[name]

    def _delete_views(self, names: list[str]) -> dict[str, Any]:
        deleted = [name for name in names if self._views.pop(name, None) is not None]
        return {"pits": [{"pit_id": name, "successful": True} for name in deleted]}

    def _search_indices(self, indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
        return self._search({index.name: index.visible for index in indices}, content, parameters)

    def _search(
        self, view: Mapping[str, Mapping[str, StoredDocument]], body: dict[str, Any], parameters: Parameters
    ) -> dict[str, Any]:
        now = self._clock.now()
        body = {"size": int(parameters["size"]), **body} if "size" in parameters else body
        matches = matcher(body.get("query", {"match_all": {}}), now)
        matching = [document for seen in view.values() for document in seen.values() if matches(document)]
        shards: dict[tuple[str, int], int] = {}
        for document in sorted(matching, key=lambda document: (document.index, document.shard)):
            shards.setdefault((document.index, document.shard), len(shards))
        hits = [_hit(document, body, shards[document.index, document.shard]) for document in matching]
        content: dict[str, Any] = {"hits": {"hits": page(hits, body)}}
        if body.get("track_total_hits", True):
            content["hits"]["total"] = {"value": len(matching), "relation": "eq"}
        if aggregations := body.get("aggs"):
            content["aggregations"] = aggregate(aggregations, matching, now)
        return content


def _hit(document: StoredDocument, body: Mapping[str, Any], shard: int) -> dict[str, Any]:
    hit: dict[str, Any] = {"_index": document.index, "_id": document.id}
    if body.get("version"):
        hit["_version"] = document.version
    if body.get("_source", True) is not False:
        hit["_source"] = shown_source(document.source, body.get("_source", True))
    fields = {
        about["field"]: [str(moment // 1_000_000) for moment in document.fields[about["field"]]]
        for about in body.get("docvalue_fields", [])
        if about["field"] in document.fields
    }
    if fields:
        hit["fields"] = fields
    if body.get("sort"):
        hit["sort"] = sort_values(document, body["sort"], shard)
    return hit


def _refresh(indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    for index in indices:
        index.refresh()
    return {"_shards": {"failed": 0}}


def _mappings(indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    return {index.name: {"mappings": index.fields.definition} for index in indices}


def _add_fields(indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    for index in indices:
        index.fields.add(content["properties"])
    return {"acknowledged": True}


def _field_capabilities(indices: list[MemoryIndex], content: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    """By field and type, whether it can be searched and grouped by."""
    patterns = parameters["fields"].split(",")
    fields: dict[str, dict[str, Any]] = {}
    for index in indices:
        for name, about in index.fields.types.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                kind = about["type"]
                grouped = kind != "text" and about.get("doc_values", True)
                fields.setdefault(name, {})[kind] = {"searchable": about.get("index", True), "aggregatable": grouped}
    return {"indices": [index.name for index in indices], "fields": fields}


def _no_handler(method: str, segments: list[str]) -> RequestError:
    reason = f"no handler found for uri [/{'/'.join(segments)}] and method [{method}]"
    return RequestError(400, "", reason)


def _error(status: int, content: Mapping[str, Any]) -> StoreError:
    error = content["error"]
    reason = error if isinstance(error, str) else f"{error['type']}: {error['reason']}"
    return ResponseError(f"OpenSearch in memory: status {status} {reason}", status)
