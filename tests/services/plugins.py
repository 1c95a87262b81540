"""Stand-ins for the plugins for retention and alerting and for OpenSearch Dashboards, which no package registry has.

They respond as their published API descriptions say and as the real ones were seen to, reject invalid requests, and keep
what they receive. All other requests are passed on to an OpenSearch, a real one or one in memory.
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

from stream_triage.clients.memory.search import MemorySearchServer
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
    """The plugins ISM and Alerting, in front of a server. `missing` names those that are not installed.

    Attributes:
        alerts: The open alerts of each monitor, by the trigger that raised them.
        taken_out: Indices that somebody removed from their policy.
        closed: Indices that ISM cannot change.
    """

    def __init__(self, pass_on: Callable[[str, str, bytes, Any], Answer], missing: tuple[str, ...] = ()) -> None:
        self.missing = missing
        self.policies: dict[str, dict[str, Any]] = {}
        self.managed: dict[str, str] = {}
        self.taken_out: set[str] = set()
        self.closed: set[str] = set()
        self.monitors: dict[str, dict[str, Any]] = {}
        self.alerts: dict[str, list[str]] = {}
        self._sequence: dict[str, int] = {}
        self._pass_on = pass_on
        self._numbers = count(1)

    @classmethod
    def of_memory(cls, memory: MemorySearchServer, missing: tuple[str, ...] = ()) -> "Plugins":
        """In front of a server in memory."""
        return cls(lambda method, path, body, headers: memory.handle(method, path, body), missing)

    @classmethod
    def of_server(cls, server: OpenSearchServer, missing: tuple[str, ...] = ()) -> "Plugins":
        """In front of a real server."""
        return cls(lambda method, path, body, headers: _forwarded(server.url + path, method, body, headers), missing)

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> Answer:
        address, _, query = path.lstrip("/").partition("?")
        for name, plugin in (("ism", self._ism), ("alerting", self._alerting)):
            if address.startswith(f"_plugins/_{name}/"):
                if name in self.missing:
                    return 400, {"error": f"no handler found for uri [{path}] and method [{method}]"}
                content = json.loads(body) if body else {}
                shown = "OpenSearch-Dashboards" in str(headers.get("User-Agent"))
                return plugin(method, address.split("/")[2:], content, dict(re.findall(r"(\w+)=(\w+)", query)), shown)
        if address.endswith("/_settings"):
            flag = "index.plugins.index_state_management.auto_manage"
            return 200, {
                index: {"settings": {flag: "false"} if index in self.taken_out else {}}
                for index in address.partition("/")[0].split(",")
            }
        return self._pass_on(method, path, body, headers)

    def alert(self, monitor: str) -> None:
        """Lets all triggers of a monitor raise an alert."""
        triggers = self.monitors[monitor]["triggers"]
        self.alerts[monitor] = [trigger["query_level_trigger"]["id"] for trigger in triggers]

    def named(self, name: str) -> tuple[str, dict[str, Any]]:
        """Id and content of the monitor whose name ends so."""
        (found,) = [each for each in self.monitors.items() if each[1]["name"].endswith(name)]
        return found

    def _ism(self, method: str, segments: list[str], content: dict[str, Any], query: dict[str, str], shown: bool) -> Answer:
        what, name = segments
        return self._policy(method, name, content, query) if what == "policies" else self._manage(what, name, content)

    def _policy(self, method: str, name: str, content: dict[str, Any], query: dict[str, str]) -> Answer:
        if method == "GET":
            return (200, self.policies[name]) if name in self.policies else (404, {"error": "Policy not found"})
        if method == "PUT":
            known = self.policies.get(name)
            if known and query != {"if_seq_no": str(known["_seq_no"]), "if_primary_term": "1"}:
                return 409, {"error": {"type": "version_conflict_engine_exception", "reason": "document already exists"}}
            policy = content["policy"]
            states = {state["name"] for state in policy["states"]}
            assert policy["default_state"] in states
            assert {move["state_name"] for state in policy["states"] for move in state["transitions"]} <= states
            self.policies[name] = {
                "_id": name, "_seq_no": next(self._numbers), "_primary_term": 1, "policy": self._stored_policy(name, policy)
            }  # fmt: skip
            return 201, self.policies[name]
        return 200, {"result": "deleted", "_id": self.policies.pop(name)["_id"]}

    def _manage(self, what: str, name: str, content: dict[str, Any]) -> Answer:
        indices = self._indices(name)
        if not indices:  # ISM asks its own index for the documents about these indices, of which there are none
            return 400, _validation_error("no documents to get")
        if what == "explain":
            field = "index.plugins.index_state_management.policy_id"
            return 200, {index: {field: self.managed.get(index)} for index in indices} | {"total_managed_indices": 0}
        failed = [index for index in indices if index in self.closed]
        for index in (index for index in indices if index not in failed):
            if what == "remove":
                if self.managed.pop(index, None):
                    self.taken_out.add(index)
            elif what == "add" or index in self.managed:
                assert content["policy_id"] in self.policies
                self.managed[index] = content["policy_id"]
                self.taken_out.discard(index)
        about = [{"index_name": index, "index_uuid": "u", "reason": "This index is closed"} for index in failed]
        return 200, {"updated_indices": len(indices) - len(failed), "failures": bool(failed), "failed_indices": about}

    def _stored_policy(self, name: str, policy: dict[str, Any]) -> dict[str, Any]:
        """ISM adds fields of its own, and defaults to each action."""
        stored: dict[str, Any] = json.loads(json.dumps(policy))
        for state in stored["states"]:
            for action in state["actions"]:
                action.setdefault("retry", {"count": 3, "backoff": "exponential", "delay": "1m"})
        for template in stored["ism_template"]:
            template["last_updated_time"] = next(self._numbers)
        added = {"last_updated_time": next(self._numbers), "schema_version": 21, "error_notification": None}
        return {**stored, "policy_id": name, **added}

    def _indices(self, names: str) -> list[str]:
        status, content = self._pass_on("GET", f"/{names}/_mapping", b"", {})
        return sorted(json.loads(content) if isinstance(content, bytes) else content) if status == 200 else []

    def _alerting(
        self, method: str, segments: list[str], content: dict[str, Any], query: dict[str, str], shown: bool
    ) -> Answer:
        assert segments[0] == "monitors"
        if segments[1:] == ["_search"]:
            (asked,) = content["query"]["term"].items()
            assert asked[0] == "monitor.name.keyword"
            hits = [
                {"_id": name, "_source": _without_ui(each, shown), **self._place(name, content)}
                for name, each in self.monitors.items()
                if each["name"] == asked[1]
            ]
            return 200, {"hits": {"total": {"value": len(hits)}, "hits": hits}}
        name = segments[1] if len(segments) > 1 else f"m{next(self._numbers)}"
        if method in ("GET", "PUT") and len(segments) > 1 and name not in self.monitors:
            return 404, {"error": {"reason": "Monitor not found."}}
        if method != "GET":
            missing = {"type", "name", "monitor_type", "enabled", "schedule", "inputs", "triggers"} - set(content)
            if missing:
                return 400, {"error": {"reason": f"missing {missing}"}}
            if query and query != {"if_seq_no": str(self._sequence[name]), "if_primary_term": "1"}:
                return 409, {"error": {"type": "version_conflict_engine_exception", "reason": "changed meanwhile"}}
            self._store(name, content)
        about = {"_id": name, "_version": 1, **self._place(name, {"seq_no_primary_term": True})}
        return 201 if method == "POST" else 200, {**about, "monitor": _without_ui(self.monitors[name], shown)}

    def _place(self, name: str, asked: dict[str, Any]) -> dict[str, int]:
        """What an update has to name, so that it does not replace a later version."""
        return {"_seq_no": self._sequence[name], "_primary_term": 1} if asked.get("seq_no_primary_term") else {}

    def _store(self, name: str, content: dict[str, Any]) -> None:
        """Alerting reads the query and writes it anew, numbers triggers without id, and drops alerts of other triggers."""
        stored: dict[str, Any] = json.loads(json.dumps(content))
        for asked in stored["inputs"]:
            asked["search"]["query"] = _rewritten(asked["search"]["query"])
        for trigger in (each["query_level_trigger"] for each in stored["triggers"]):
            assert trigger["condition"]["script"]["lang"] == "painless"
            for each in (trigger, *trigger["actions"]):
                each.setdefault("id", f"id{next(self._numbers)}")
        stored |= {"last_update_time": next(self._numbers), "schema_version": 8, "owner": "alerting", "data_sources": {}}
        stored["enabled_time"] = next(self._numbers) if stored["enabled"] else None
        self.monitors[name], self._sequence[name] = stored, next(self._numbers)
        known = {trigger["query_level_trigger"]["id"] for trigger in stored["triggers"]}
        self.alerts[name] = [trigger for trigger in self.alerts.get(name, ()) if trigger in known]


def _validation_error(reason: str) -> dict[str, Any]:
    reason = f"Validation Failed: 1: {reason};"
    return {"error": {"type": "action_request_validation_exception", "reason": reason}, "status": 400}


def _without_ui(monitor: dict[str, Any], shown: bool) -> dict[str, Any]:
    """Alerting shows `ui_metadata` to Dashboards alone."""
    return {name: value for name, value in monitor.items() if shown or name != "ui_metadata"}


def _rewritten(query: Any) -> Any:
    """A query as the server writes what it has read: with other names for limits, and with defaults."""
    if isinstance(query, list):
        return [_rewritten(each) for each in query]
    if not isinstance(query, dict):
        return query
    result: dict[str, Any] = {}
    for name, value in query.items():
        if name == "range":
            ((field, limits),) = value.items()
            others = {key: limit for key, limit in limits.items() if key not in ("gte", "lt")}
            around = {"from": limits.get("gte"), "to": limits.get("lt"), "include_lower": True, "include_upper": False}
            result[name] = {field: {**around, **others, "boost": 1.0}}  # what has `from` already keeps it
        elif name == "term":
            ((field, wanted),) = value.items()
            result[name] = {field: wanted if isinstance(wanted, dict) else {"value": wanted, "boost": 1.0}}
        elif name == "bool":
            result[name] = {**_rewritten(value), "adjust_pure_negative": True, "boost": 1.0}
        elif name == "track_total_hits":
            result[name] = 2147483647
        else:
            result[name] = _rewritten(value)
    return result


def _forwarded(url: str, method: str, body: bytes, headers: Any) -> Answer:
    shown = {"Content-Type": headers.get("Content-Type", "application/json")}
    request = urllib.request.Request(url, body or None, shown, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Dashboards:
    """The API of saved objects of OpenSearch Dashboards.

    With a server, objects are also written to an index with the strict mappings of Dashboards, which rejects unknown
    attributes.

    Attributes:
        objects: What is saved, by type and id.
        imported: The ids of all imported objects.
        headers: Those of each request.
    """

    def __init__(self, server: OpenSearchServer | None = None, index: str = "", users: dict[str, str] | None = None) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.imports = 0
        self.imported: list[str] = []
        self.headers: list[Any] = []
        self._server = server
        self._index = index
        self._users = users
        if server:
            server.ask(index, {"mappings": SAVED_OBJECTS}, "PUT")

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> Answer:
        self.headers.append(headers)
        if self._users is not None:
            kind, _, pair = headers.get("Authorization", "").partition(" ")
            user, _, password = base64.b64decode(pair).decode().partition(":")
            if kind != "Basic" or self._users.get(user) != password:
                return 401, {"statusCode": 401, "error": "Unauthorized"}
        if not headers.get("osd-xsrf"):
            return 400, {"statusCode": 400, "error": "Bad Request", "message": "Request must contain a osd-xsrf header."}
        if (method, path) == ("POST", "/api/saved_objects/_bulk_get"):
            asked = [(each["type"], each["id"]) for each in json.loads(body)]
            missing = {"error": {"statusCode": 404}}
            return 200, {
                "saved_objects": [self.objects.get(one) or {"type": one[0], "id": one[1], **missing} for one in asked]
            }
        if (method, path) == ("POST", "/api/saved_objects/_import?overwrite=true"):
            return self._import(body, headers["Content-Type"])
        return 404, {"statusCode": 404, "error": "Not Found"}

    def attributes(self, kind: str, name: str) -> dict[str, Any]:
        """The attributes of an object, for somebody to change."""
        attributes: dict[str, Any] = self.objects[kind, name]["attributes"]
        return attributes

    def _import(self, body: bytes, kind: str) -> Answer:
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        (part,) = message.get_payload()
        assert (part.get_filename().endswith(".ndjson"), part.get_content_type()) == (True, "application/ndjson")
        objects = [json.loads(line) for line in part.get_payload(decode=True).splitlines()]
        there = {(each["type"], each["id"]) for each in objects} | self.objects.keys()
        wrong = [
            {"id": each["id"], "type": each["type"], "error": {"type": "missing_references"}}
            for each in objects
            if any((to["type"], to["id"]) not in there for to in each["references"])
        ]
        for each in objects:
            self.imported.append(each["id"])
            self.objects[each["type"], each["id"]] = each
            if each["type"] == "index-pattern":
                self.show(each["id"])
            if self._server:
                document = {"type": each["type"], each["type"]: each["attributes"], "references": each["references"],
                            "migrationVersion": each["migrationVersion"]}  # fmt: skip
                self._server.ask(f"{self._index}/_doc/{each['type']}:{each['id']}", document, "PUT")
        self.imports += 1
        return 200, {"success": not wrong, "successCount": len(objects) - len(wrong), **({"errors": wrong} if wrong else {})}

    def show(self, pattern: str) -> None:
        """Somebody opens an index pattern: Dashboards lists its fields, and writes the formats of fields anew.

        They come in another order, with fields of its own, and with numbers and booleans as text.
        """
        attributes = self.attributes("index-pattern", pattern)
        attributes["fields"] = json.dumps([{"name": "@timestamp", "type": "date", "scripted": False}])
        formats = json.loads(attributes.get("fieldFormatMap") or "{}")
        rewritten = {}
        for field in sorted(formats, reverse=True):
            params = {name: _as_text(value) for name, value in reversed(formats[field].get("params", {}).items())}
            parsed = {"origin": "http://dashboards", "pathname": "/app/home", "basePath": ""}
            rewritten[field] = {"params": {**params, "parsedUrl": parsed}, "id": formats[field]["id"]}
        if rewritten:
            attributes["fieldFormatMap"] = json.dumps(rewritten)


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


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
