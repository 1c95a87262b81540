"""Limits of age in; policies of the plugin Index State Management (ISM) out, which delete indices that are too old.

An index contains the documents of a month, and its age counts from its creation. A policy therefore waits a month longer,
so that no document is deleted before its time.
"""

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from stream_triage.clients.search import SearchServer
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.installed import Copy, Installed
from stream_triage.setup.links import LONGEST_MONTH_DAYS
from stream_triage.setup.merge import merge

__all__ = ["create_retention"]

ISM: Final = "_plugins/_ism"
# What ISM adds to a policy that it stores.
_ADDED: Final = ("policy_id", "last_updated_time", "schema_version", "error_notification", "user")
_AGE: Final = "min_index_age"
_POLICY_OF: Final = "index.plugins.index_state_management.policy_id"


def create_retention(server: SearchServer, settings: OpenSearchSettings, changes: Changes, installed: Installed) -> None:
    """Creates or updates a policy for verdicts, and one for lines and workers; attaches them to indices without a policy."""
    prefix = settings.index_prefix
    for kinds, days in (
        (("verdicts",), settings.verdicts_max_age_days),
        (("lines", "workers"), settings.lines_max_age_days),
    ):
        consequence = "" if days is None else "old indices are not deleted"
        with changes.optional(f"retention of {' and '.join(kinds)}", "opensearch-index-management", consequence):
            patterns = [f"{prefix}-{kind}-*" for kind in kinds]
            _Retention(server, changes, installed, f"{prefix}-{kinds[0]}", patterns).put(days)


class _Retention:
    """One policy and the indices that it is for."""

    def __init__(self, server: SearchServer, changes: Changes, installed: Installed, name: str, patterns: list[str]) -> None:
        self._server = server
        self._changes = changes
        self._installed = installed
        self._name = name
        self._patterns = patterns
        self._words = f"retention policy {name}"
        # Names of copies: indices that a set-up took out of the policy, and those that have an older version of it.
        self._released, self._outdated = (f"{self._words}: {state}" for state in ("released", "outdated"))

    def put(self, days: float | None) -> None:
        """Makes the policy keep so many days; removes it if `days` is None."""
        known = self._server.request("GET", f"{ISM}/policies/{self._name}")
        policies = self._policies()
        if days is None:
            self._remove(known, policies)
        else:
            managed = [index for index, policy in policies.items() if policy == self._name]
            self._update(known, _policy(self._patterns, days), managed)
            self._attach([index for index, policy in policies.items() if policy is None])

    def _policies(self) -> dict[str, str | None]:
        """The name of its policy for each index. ISM answers a question about no index with an error."""
        indices = sorted(self._server.request("GET", f"{','.join(self._patterns)}/_mapping"))
        if not indices:
            return {}
        about = self._server.request("GET", f"{ISM}/explain/{','.join(indices)}")
        return {index: about.get(index, {}).get(_POLICY_OF) for index in indices}

    def _remove(self, known: Mapping[str, Any], policies: Mapping[str, str | None]) -> None:
        if not known or not self._changes.note(f"remove {self._words}: indices are kept for good"):
            return
        managed = [index for index, policy in policies.items() if policy == self._name]
        # Indices without a policy are attached to a new one, unless somebody took them out by hand: these were not.
        self._note(self._released, {*self._noted(self._released), *managed})
        # Without its policy, an index that is still under it would be deleted all the same.
        if self._manage("remove", managed):
            self._server.request("DELETE", f"{ISM}/policies/{self._name}")

    def _update(self, known: Mapping[str, Any], wanted: dict[str, Any], managed: list[str]) -> None:
        reset, installed = self._changes.resets(self._words, self._name), self._installed.get(self._words)
        there, parts = _parts(_own(known)) if known else {}, _parts(wanted)
        if known and not installed:
            merged = merge(None, there, parts, loose=True, reset=reset, theirs=_edited(there))
        else:
            merged = merge(installed if known else None, there, parts, reset=reset)
        self._changes.keep(self._words, merged.kept.values())
        if not known:
            if self._changes.note(f"create {self._words}", [f"{_AGE}: {parts[_AGE]}"]):
                there = self._write(wanted, "")
        elif merged.changed and self._changes.note(f"update {self._words}", merged.changed):
            version = f"?if_seq_no={known['_seq_no']}&if_primary_term={known['_primary_term']}"
            # An index keeps the version of its policy with which it was attached.
            self._note(self._outdated, managed)
            there = self._write(_assembled(merged.parts), version)
        outdated = [index for index in managed if index in self._noted(self._outdated)]
        if outdated and not self._changes.dry_run and self._manage("change_policy", outdated):
            self._note(self._outdated, ())
        after = merged.copy(installed, parts, there)
        if not self._changes.dry_run and after != installed:
            self._installed.put({self._words: after})

    def _write(self, policy: Mapping[str, Any], version: str) -> dict[str, Any]:
        """Writes the policy; returns its parts as ISM stored them."""
        self._server.request("PUT", f"{ISM}/policies/{self._name}{version}", {"policy": policy})
        return _parts(_own(self._server.request("GET", f"{ISM}/policies/{self._name}")))

    def _attach(self, unmanaged: list[str]) -> None:
        """Puts indices under the policy, but not those that somebody has removed from it."""
        if not unmanaged:
            return
        settings = self._server.request("GET", f"{','.join(unmanaged)}/_settings?flat_settings=true")
        flag, released = "index.plugins.index_state_management.auto_manage", self._noted(self._released)
        by_hand = {index for index, about in settings.items() if str(about["settings"].get(flag)) == "false"}
        taken = [index for index in unmanaged if index not in by_hand or index in released]
        kept = [index for index in unmanaged if index not in taken]
        self._changes.keep(self._words, [f"index {index} was removed from it by someone" for index in kept])
        put = taken and self._changes.note(f"put {', '.join(taken)} under {self._words}")
        if put and self._manage("add", taken):
            self._note(self._released, ())

    def _manage(self, what: str, indices: Sequence[str]) -> bool:
        """Lets ISM do something with indices; false if it failed for some, which ISM says in a response with status 200."""
        if not indices:
            return True
        policy = None if what == "remove" else {"policy_id": self._name}
        answer = self._server.request("POST", f"{ISM}/{what}/{','.join(indices)}", policy)
        failed = answer.get("failed_indices") or ()
        for each in failed:
            self._changes.fail(f"{self._words}: index {each.get('index_name')}: {each.get('reason')}; repeat")
        return not failed

    def _noted(self, name: str) -> Sequence[str]:
        """Names of indices that an earlier set-up has noted."""
        known = self._installed.get(name)
        return known.sent["indices"] if known else ()

    def _note(self, name: str, indices: Collection[str]) -> None:
        if sorted(indices) != sorted(self._noted(name)):
            self._installed.put({name: Copy({"indices": sorted(indices)}, {})})


def _own(known: Mapping[str, Any]) -> dict[str, Any]:
    """A stored policy without what ISM adds to it, also to its templates: the time changes whenever somebody saves it."""
    policy = {name: value for name, value in known["policy"].items() if name not in _ADDED}
    if isinstance(templates := policy.get("ism_template"), list):
        policy["ism_template"] = [{name: each[name] for name in each if name not in _ADDED} for each in templates]
    return policy


def _parts(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What is merged, by name: the age apart from the states, since that is what people change."""
    parts = copy.deepcopy(dict(policy))
    conditions = _conditions(parts)
    return {**parts, _AGE: conditions.pop(_AGE)} if _AGE in conditions else parts


def _edited(parts: Mapping[str, Any]) -> list[str]:
    """Parts to keep of a policy without a copy. The description of an earlier version tells whether its age was edited."""
    promised = re.search(r"keeps ([\d.e+]+) days", parts["description"])
    edited = promised is None or parts.get(_AGE) != _age(float(promised[1]))
    return ["states", "default_state", "ism_template", *([_AGE] if edited else [])]


def _age(days: float) -> str:
    return f"{round((days + LONGEST_MONTH_DAYS) * 24)}h"


def _assembled(parts: Mapping[str, Any]) -> dict[str, Any]:
    policy = copy.deepcopy({name: value for name, value in parts.items() if name != _AGE})
    if _AGE in parts:
        _conditions(policy)[_AGE] = parts[_AGE]
    return policy


def _conditions(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of the first transition, with which an index leaves the state that it begins in."""
    for state in policy["states"]:
        if state["name"] == policy["default_state"] and state["transitions"]:
            conditions: dict[str, Any] = state["transitions"][0].setdefault("conditions", {})
            return conditions
    return {}


def _policy(patterns: list[str], days: float) -> dict[str, Any]:
    return {
        "description": "stream-triage: deletes indices whose documents are all too old",
        "default_state": "kept",
        "states": [
            {
                "name": "kept",
                "actions": [],
                "transitions": [
                    {
                        "state_name": "deleted",
                        "conditions": {_AGE: _age(days)},
                    }
                ],
            },
            {"name": "deleted", "actions": [{"delete": {}}], "transitions": []},
        ],
        "ism_template": [{"index_patterns": patterns, "priority": 100}],
    }
