"""Limits of age in; policies of the plugin Index State Management (ISM) out, which delete indices that are too old.

An index contains the documents of a month, and its age counts from its creation. A policy therefore waits a month longer,
so that no document is deleted before its time.
"""

from typing import Any, Final

from stream_triage.clients.search import SearchServer
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes, digest

__all__ = ["create_retention"]

LONGEST_MONTH_DAYS: Final = 31
ISM: Final = "_plugins/_ism"


def create_retention(server: SearchServer, settings: OpenSearchSettings, changes: Changes) -> None:
    """Creates or updates a policy for verdicts, and one for lines and workers; attaches them to indices without a policy."""
    prefix = settings.index_prefix
    for kinds, days in (
        (("verdicts",), settings.verdicts_max_age_days),
        (("lines", "workers"), settings.lines_max_age_days),
    ):
        with changes.optional(f"retention of {' and '.join(kinds)}", "opensearch-index-management"):
            _put_policy(server, changes, f"{prefix}-{kinds[0]}", [f"{prefix}-{kind}-*" for kind in kinds], days)


def _put_policy(server: SearchServer, changes: Changes, name: str, patterns: list[str], days: float | None) -> None:
    """Removes the policy if `days` is None."""
    known = server.request("GET", f"{ISM}/policies/{name}")
    indices = ",".join(patterns)
    if days is None:
        if known and changes.note(f"remove retention policy {name}"):
            server.request("POST", f"{ISM}/remove/{indices}")
            server.request("DELETE", f"{ISM}/policies/{name}")
        return
    wanted = _policy(patterns, days)
    if not known:
        if changes.note(f"create retention policy {name}: {days:g} days"):
            server.request("PUT", f"{ISM}/policies/{name}", {"policy": wanted})
    elif known["policy"]["description"] != wanted["description"] and changes.note(
        f"update retention policy {name}: {days:g} days"
    ):
        version = f"if_seq_no={known['_seq_no']}&if_primary_term={known['_primary_term']}"
        server.request("PUT", f"{ISM}/policies/{name}?{version}", {"policy": wanted})
        server.request("POST", f"{ISM}/change_policy/{indices}", {"policy_id": name})
    unmanaged = sorted(
        index
        for index, about in server.request("GET", f"{ISM}/explain/{indices}").items()
        if isinstance(about, dict) and about.get("index.plugins.index_state_management.policy_id") is None
    )
    if unmanaged and changes.note(f"put {', '.join(unmanaged)} under retention policy {name}"):
        server.request("POST", f"{ISM}/add/{','.join(unmanaged)}", {"policy_id": name})


def _policy(patterns: list[str], days: float) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "default_state": "kept",
        "states": [
            {
                "name": "kept",
                "actions": [],
                "transitions": [
                    {
                        "state_name": "deleted",
                        "conditions": {"min_index_age": f"{round((days + LONGEST_MONTH_DAYS) * 24)}h"},
                    }
                ],
            },
            {"name": "deleted", "actions": [{"delete": {}}], "transitions": []},
        ],
        "ism_template": [{"index_patterns": patterns, "priority": 100}],
    }
    return {"description": f"stream-triage keeps {days:g} days, {digest(policy)}", **policy}
