"""Rules and settings in; monitors of the plugin Alerting out, which apply the rules to the index of verdicts.

Without a notification channel the alerts of a monitor appear in Dashboards only. What people change in a monitor stays, and
an update keeps the ids of its triggers: with a trigger, the plugin deletes its open alerts.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from stream_triage.clients.search import ResponseError, SearchServer
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import CONFLICT, Changes
from stream_triage.setup.installed import Copy, Installed
from stream_triage.setup.links import run_board
from stream_triage.setup.merge import merge
from stream_triage.setup.monitor_rules import MINUTES, RULES, THROTTLE_MINUTES

__all__ = ["create_monitors", "monitor"]

ALERTING: Final = "_plugins/_alerting/monitors"
# What people set to their liking, which an update from a version that left no copy does not touch.
_THEIRS: Final = ("name", "enabled", "schedule", "channel", "throttle")
# What those versions themselves set.
_OF_OLD_VERSIONS: Final = {"throttle": "60 minutes"}
_ACTION: Final = "notify"
# Stands for the address of the run while the link is encoded, and what of it is not encoded.
_ADDRESS, _PLAIN = "THE-RUN", "#/?&=:,"
# To others the plugin does not show `ui_metadata`, in which Dashboards keeps how people edit a monitor: it would get lost.
_AS_DASHBOARDS: Final = {"user-agent": "stream-triage OpenSearch-Dashboards"}
# What the plugin itself writes into a monitor.
_SERVERS: Final = ("last_update_time", "enabled_time", "schema_version", "user")


def create_monitors(server: SearchServer, settings: OpenSearchSettings, changes: Changes, installed: Installed) -> None:
    """Creates missing monitors, and updates those that a new version of the product needs changed."""
    with changes.optional("monitors", "opensearch-alerting"):
        for name in RULES:
            body = monitor(settings, name)
            try:
                _create(server, body, name, changes, installed)
            except ResponseError as error:
                if error.status != CONFLICT:
                    raise
                changes.fail(f"monitor {body['name']} was changed at the same moment; repeat: {error}")


def _create(server: SearchServer, body: dict[str, Any], name: str, changes: Changes, installed: Installed) -> None:
    words, wanted = f"monitor {body['name']}", _parts(body)
    reset, before = changes.resets(words, body["name"], name), installed.get(words)
    known = _find(server, body["name"], before.id if before else "")
    there = known.content if known else body
    theirs = [part for part in _THEIRS if part not in _OF_OLD_VERSIONS or _parts(there).get(part) != _OF_OLD_VERSIONS[part]]
    merged = merge(before if known else None, _parts(there), wanted, reset=reset, theirs=theirs)
    changes.keep(words, merged.kept.values())
    if known and known.others:
        changes.keep(
            words, [f"{', '.join(known.others)} has the same name, so alerts come twice; delete all but {known.id}"]
        )
    if not known:
        if changes.note(f"create {words}", [f"severity {wanted['severity']}", f"every {MINUTES} minutes"]):
            created = server.request("POST", ALERTING, body)["_id"]
            known = _find(server, body["name"], created)
    elif merged.changed and changes.note(f"update {words}", merged.changed):
        changed = _changed(there, merged.parts, name)
        with _sending(installed, words, before, _parts(there), merged.parts):
            server.request("PUT", f"{ALERTING}/{known.id}{known.version}", changed)
        known = _find(server, changed["name"], known.id)
    if known and not changes.dry_run:
        after = merged.copy(before, wanted, _parts(known.content), known.id)
        if after != before:
            installed.put({words: after})


@contextmanager
def _sending(
    installed: Installed, words: str, before: Copy | None, there: Mapping[str, Any], parts: Mapping[str, Any]
) -> Iterator[None]:
    """Notes what is about to be written: after an abort, it must not look like a change by people."""
    if before is None:
        yield
        return
    names = tuple(name for name in {**there, **parts} if there.get(name) != parts.get(name))
    installed.put({words: before._replace(sending=names)})
    try:
        yield
    except ResponseError as error:
        if error.status:  # else nobody knows whether the server has written it
            installed.put({words: before})
        raise


class _Known(NamedTuple):
    """A stored monitor."""

    id: str
    version: str
    """With which an update is rejected if somebody saved the monitor meanwhile."""
    content: dict[str, Any]
    others: Sequence[str]
    """Ids of other monitors with its name. Two set-ups at the same moment create two."""


def _find(server: SearchServer, name: str, known_id: str) -> _Known | None:
    """Finds a monitor by the id that it got, also if people have renamed it, or else by its name."""
    query = {"size": 10, "seq_no_primary_term": True, "query": {"term": {"monitor.name.keyword": name}}}
    hits = server.request("POST", f"{ALERTING}/_search", query, _AS_DASHBOARDS).get("hits", {}).get("hits", [])
    ids = [hit["_id"] for hit in hits]
    if known_id in ids:
        found = hits[ids.index(known_id)]
    else:
        by_id = server.request("GET", f"{ALERTING}/{known_id}", None, _AS_DASHBOARDS) if known_id else {}
        found = by_id or (hits[0] if hits else {})
    if not found:
        return None
    content = found.get("_source") or found
    sequence = f"?if_seq_no={found['_seq_no']}&if_primary_term={found['_primary_term']}" if "_seq_no" in found else ""
    monitor = content.get("monitor", content)
    others = [each for each in ids if each != found["_id"]] if monitor["name"] == name else []
    return _Known(found["_id"], sequence, monitor, others)


def monitor(settings: OpenSearchSettings, name: str) -> dict[str, Any]:
    """Returns the monitor as the API of the plugin accepts it."""
    rule = RULES[name]
    subject = f"stream-triage: {name} (severity {{{{ctx.trigger.severity}}}})"
    message, throttle = _linked(rule.message, settings), f"{THROTTLE_MINUTES} minutes"
    action = {"name": _ACTION, **_message_action(settings.notification_channel, subject, message, throttle)}
    trigger = {
        "name": name,
        "severity": str(rule.severity),
        "condition": _script(rule.condition),
        "actions": [action] if settings.notification_channel else [],
    }
    return {
        "type": "monitor",
        "monitor_type": "query_level_monitor",
        "name": f"{settings.index_prefix}: {name}",
        "enabled": True,
        "schedule": {"period": {"interval": MINUTES, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": [f"{settings.index_prefix}-verdicts-*"], "query": rule.query}}],
        "triggers": [{"query_level_trigger": trigger}],
    }


def _linked(message: str, settings: OpenSearchSettings) -> str:
    """Fills in the addresses of a run and of a board; without the address of Dashboards, their lines are left out."""
    if settings.dashboards_url is None:
        return re.sub(r"\n? *<(run|board) [\w.]+>", "", message)
    boards = f"{settings.dashboards_url.rstrip('/')}/app/dashboards"
    message = re.sub(r"<board (\w+)>", rf"{boards}#/view/{settings.index_prefix}-\1", message)
    # Chat programs end a link at a quotation mark or a bracket; Dashboards decodes what is encoded here.
    run = quote(run_board(settings, _ADDRESS), safe=_PLAIN)
    return re.sub(r"<run ([\w.]+)>", lambda match: boards + run.replace(_ADDRESS, f"{{{{{match[1]}}}}}"), message)


def _parts(body: Mapping[str, Any]) -> dict[str, Any]:
    """What is merged, by name. Triggers and actions that people added are no parts, and stay."""
    trigger = _trigger(body) or {}
    action = _action(trigger) or {}
    parts = {
        "name": body["name"],
        "enabled": body["enabled"],
        "schedule": _span(body["schedule"].get("period"), "interval") or body["schedule"],
        "query": (_search(body) or {}).get("query"),
        "severity": trigger.get("severity"),
        "condition": trigger.get("condition", {}).get("script", {}).get("source"),
        "channel": action.get("destination_id"),
        "subject": action.get("subject_template", {}).get("source"),
        "message": action.get("message_template", {}).get("source"),
        "throttle": _span(action.get("throttle"), "value") if action.get("throttle_enabled") else None,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _changed(stored: Mapping[str, Any], parts: Mapping[str, Any], rule: str) -> dict[str, Any]:
    """Returns the stored monitor with these parts, and otherwise as it is."""
    body = copy.deepcopy({name: value for name, value in stored.items() if name not in _SERVERS})
    schedule = parts["schedule"]
    period = {"period": _span_of(schedule, "interval")} if isinstance(schedule, str) else schedule
    body |= {"name": parts["name"], "enabled": parts["enabled"], "schedule": period}
    if (asked := _search(body)) is not None and "query" in parts:
        asked["query"] = parts["query"]
    if "condition" in parts:
        trigger = _trigger(body)
        if trigger is None:
            trigger = {"name": rule, "actions": []}
            body["triggers"].append({"query_level_trigger": trigger})
        trigger |= {"severity": parts["severity"], "condition": _script(parts["condition"])}
        _change_action(trigger, parts)
    return body


def _change_action(trigger: dict[str, Any], parts: Mapping[str, Any]) -> None:
    action = _action(trigger)
    if "channel" not in parts:
        trigger["actions"] = [each for each in trigger["actions"] if each is not action]
        return
    if action is None:
        action = {"name": _ACTION}
        trigger["actions"] = [*trigger["actions"], action]
    action |= _message_action(parts["channel"], parts["subject"], parts["message"], parts.get("throttle"))


def _message_action(channel: str | None, subject: str, message: str, throttle: str | None) -> dict[str, Any]:
    """What an action sends, where, and how often at most."""
    return {
        "destination_id": channel,
        "subject_template": {"source": subject, "lang": "mustache"},
        "message_template": {"source": message, "lang": "mustache"},
        "throttle_enabled": throttle is not None,
        "throttle": throttle and _span_of(throttle, "value"),
    }


def _script(source: str) -> dict[str, Any]:
    return {"script": {"source": source, "lang": "painless"}}


def _span(about: Mapping[str, Any] | None, count: str) -> str | None:
    """A span of time in words: `5 minutes`. None if there is none."""
    return f"{about[count]} {about['unit'].lower()}" if about else None


def _span_of(words: str, count: str) -> dict[str, Any]:
    number, unit = words.split(" ")
    return {count: int(number), "unit": unit.upper()}


def _search(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the monitor searches for, unless people made it a monitor of another type."""
    return next((each["search"] for each in body["inputs"] if "search" in each), None)


def _trigger(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The trigger that a set-up made: it has the name of the rule. People may have added others, or removed it."""
    triggers = (each.get("query_level_trigger", {}) for each in body["triggers"])
    return next((each for each in triggers if each.get("name") in RULES), None)


def _action(trigger: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((each for each in trigger.get("actions", ()) if each["name"] == _ACTION), None)
