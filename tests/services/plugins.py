"""Stand-ins for the plugins for retention and alerting and for OpenSearch Dashboards, which no package registry has.

They respond as their published API descriptions say, reject invalid requests, and keep what they receive. All other requests
are passed on to a real OpenSearch, which also stores saved objects, under the strict mappings of Dashboards.
"""

import base64
import http.server
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from itertools import count
from typing import Any

from tests.local_http import local_server
from tests.services.servers import OpenSearchServer

__all__ = ["Dashboards", "Plugins", "serving"]

# HTTP status and body.
Answer = tuple[int, Any]
_META = {"properties": {"searchSourceJSON": {"type": "text", "index": False}}}
_TEXT, _SILENT, _WORD = {"type": "text"}, {"type": "text", "index": False}, {"type": "keyword"}
# As the plugins of Dashboards register their types.
SAVED_OBJECTS = {
    "dynamic": "strict",
    "properties": {
        "type": _WORD,
        "references": {"type": "nested", "properties": {"name": _WORD, "type": _WORD, "id": _WORD}},
        "migrationVersion": {"type": "object", "dynamic": "true"},
        "index-pattern": {"properties": {
            "title": _TEXT, "timeFieldName": _WORD, "fieldFormatMap": _TEXT, "fields": _TEXT, "intervalName": _WORD,
            "sourceFilters": _TEXT, "type": _WORD, "typeMeta": _WORD}},
        "visualization": {"properties": {
            "description": _TEXT, "kibanaSavedObjectMeta": _META, "savedSearchRefName": _WORD, "title": _TEXT,
            "uiStateJSON": _SILENT, "version": {"type": "integer"}, "visState": _SILENT}},
        "search": {"properties": {
            "columns": _WORD, "description": _TEXT, "hits": {"type": "integer"}, "kibanaSavedObjectMeta": _META,
            "sort": _WORD, "title": _TEXT, "version": {"type": "integer"}}},
        "dashboard": {"properties": {
            "description": _TEXT, "hits": {"type": "integer"}, "kibanaSavedObjectMeta": _META, "optionsJSON": _SILENT,
            "panelsJSON": _SILENT, "timeFrom": _WORD, "timeRestore": {"type": "boolean"}, "timeTo": _WORD,
            "title": _TEXT, "version": {"type": "integer"},
            "refreshInterval": {"properties": {
                "display": _WORD, "pause": {"type": "boolean"}, "section": {"type": "integer"},
                "value": {"type": "integer"}}}}},
    },
}  # fmt: skip


class Plugins:
    """The plugins ISM and Alerting, in front of a server. `missing` names those that are not installed."""

    def __init__(self, server: OpenSearchServer, missing: tuple[str, ...] = ()) -> None:
        self.server = server
        self.missing = missing
        self.policies: dict[str, dict[str, Any]] = {}
        self.managed: dict[str, str] = {}
        self.monitors: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> Answer:
        address, _, query = path.lstrip("/").partition("?")
        for name, plugin in (("ism", self._ism), ("alerting", self._alerting)):
            if address.startswith(f"_plugins/_{name}/"):
                if name in self.missing:
                    return 400, {"error": f"no handler found for uri [{path}] and method [{method}]"}
                content = json.loads(body) if body else {}
                return plugin(method, address.split("/")[2:], content, dict(re.findall(r"(\w+)=(\w+)", query)))
        return self._pass_on(method, path, body, headers)

    def _ism(self, method: str, segments: list[str], content: dict[str, Any], query: dict[str, str]) -> Answer:
        what, name = segments
        if what == "policies" and method == "GET":
            return (200, self.policies[name]) if name in self.policies else (404, {"error": "Policy not found"})
        if what == "policies" and method == "PUT":
            known = self.policies.get(name)
            if known and query != {"if_seq_no": str(known["_seq_no"]), "if_primary_term": "1"}:
                return 409, {"error": {"type": "version_conflict_engine_exception", "reason": "document already exists"}}
            policy = content["policy"]
            states = {state["name"] for state in policy["states"]}
            assert policy["default_state"] in states
            assert {move["state_name"] for state in policy["states"] for move in state["transitions"]} <= states
            kept = {**policy, "policy_id": name, "last_updated_time": 1, "schema_version": 21, "error_notification": None}
            self.policies[name] = {"_id": name, "_seq_no": next(self._numbers), "_primary_term": 1, "policy": kept}
            return 201, self.policies[name]
        if what == "policies" and method == "DELETE":
            return 200, {"result": "deleted", "_id": self.policies.pop(name)["_id"]}
        indices = self._indices(name)
        if what == "explain":
            field = "index.plugins.index_state_management.policy_id"
            return 200, {index: {field: self.managed.get(index)} for index in indices} | {"total_managed_indices": 0}
        for index in indices:
            if what == "remove":
                self.managed.pop(index, None)
            elif what == "add" or index in self.managed:
                assert content["policy_id"] in self.policies
                self.managed[index] = content["policy_id"]
        return 200, {"updated_indices": len(indices), "failures": False, "failed_indices": []}

    def _indices(self, names: str) -> list[str]:
        return sorted(self.server.ask(f"{names}/_settings?ignore_unavailable=true"))

    def _alerting(self, method: str, segments: list[str], content: dict[str, Any], query: dict[str, str]) -> Answer:
        assert segments[0] == "monitors"
        if segments[1:] == ["_search"]:
            (asked,) = content["query"]["term"].items()
            assert asked[0] == "monitor.name.keyword"
            hits = [{"_id": name, "_source": each} for name, each in self.monitors.items() if each["name"] == asked[1]]
            return 200, {"hits": {"total": {"value": len(hits)}, "hits": hits}}
        missing = {"type", "name", "monitor_type", "enabled", "schedule", "inputs", "triggers"} - set(content)
        if missing:
            return 400, {"error": {"reason": f"missing {missing}"}}
        name = segments[1] if len(segments) > 1 else f"m{next(self._numbers)}"
        if method == "PUT" and name not in self.monitors:
            return 404, {"error": "not found"}
        self.monitors[name] = content
        return 201, {"_id": name, "_version": 1, "monitor": content}

    def _pass_on(self, method: str, path: str, body: bytes, headers: Any) -> Answer:
        shown = {"Content-Type": headers.get("Content-Type", "application/json")}
        request = urllib.request.Request(self.server.url + path, body or None, shown, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class Dashboards:
    """The API of saved objects of OpenSearch Dashboards."""

    def __init__(self, server: OpenSearchServer, index: str, users: dict[str, str] | None = None) -> None:
        self.server = server
        self.index = index
        self.users = users
        self.imports = 0
        server.ask(index, {"mappings": SAVED_OBJECTS}, "PUT")

    def objects(self) -> list[dict[str, Any]]:
        self.server.ask(f"{self.index}/_refresh", method="POST")
        hits = self.server.ask(f"{self.index}/_search", {"size": 1000})["hits"]["hits"]
        return [_saved_object(hit) for hit in hits]

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> Answer:
        if self.users is not None:
            kind, _, pair = headers.get("Authorization", "").partition(" ")
            user, _, password = base64.b64decode(pair).decode().partition(":")
            if kind != "Basic" or self.users.get(user) != password:
                return 401, {"statusCode": 401, "error": "Unauthorized"}
        if not headers.get("osd-xsrf"):
            return 400, {"statusCode": 400, "error": "Bad Request", "message": "Request must contain a osd-xsrf header."}
        if (method, path) == ("POST", "/api/saved_objects/_bulk_get"):
            known = {(each["type"], each["id"]): each for each in self.objects()}
            asked = [(each["type"], each["id"]) for each in json.loads(body)]
            return 200, {"saved_objects": [known.get(one) or {"type": one[0], "id": one[1], "error": {"statusCode": 404}}
                                           for one in asked]}  # fmt: skip
        if (method, path) == ("POST", "/api/saved_objects/_import?overwrite=true"):
            return self._import(body, headers["Content-Type"])
        return 404, {"statusCode": 404, "error": "Not Found"}

    def _import(self, body: bytes, kind: str) -> Answer:
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        (part,) = message.get_payload()
        assert part.get_filename().endswith(".ndjson")
        objects = [json.loads(line) for line in part.get_payload(decode=True).splitlines()]
        there = {(each["type"], each["id"]) for each in [*objects, *self.objects()]}
        wrong = [
            {"id": each["id"], "type": each["type"], "error": {"type": "missing_references"}}
            for each in objects
            if any((to["type"], to["id"]) not in there for to in each["references"])
        ]
        for each in objects:
            document = {"type": each["type"], each["type"]: each["attributes"], "references": each["references"],
                        "migrationVersion": each["migrationVersion"]}  # fmt: skip
            self.server.ask(f"{self.index}/_doc/{each['type']}:{each['id']}", document, "PUT")
        self.imports += 1
        return 200, {"success": not wrong, "successCount": len(objects) - len(wrong), **({"errors": wrong} if wrong else {})}


def _saved_object(hit: dict[str, Any]) -> dict[str, Any]:
    kind, _, name = hit["_id"].partition(":")
    source = hit["_source"]
    return {"id": name, "type": kind, "attributes": source[kind], "references": source["references"]}


@contextmanager
def serving(answer: Callable[[str, str, bytes, Any], Answer]) -> Iterator[str]:
    """A server that responds with what `answer` returns for method, path, body and headers; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answered = answer(self.command, self.path, body, self.headers)
            content = answered if isinstance(answered, bytes) else json.dumps(answered).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status in (302, 307):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do

        def log_message(self, *_: object) -> None: ...

    with local_server(Handler) as address:
        yield f"http://{address}"
