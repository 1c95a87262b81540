"""A forgotten run in; the groups of alerts that it was part of, without it, out.

The other runs of a group are still reported. If the group began with the forgotten run, the next one takes its place, since
a message quotes the first run.
"""

import json
import sqlite3

from stream_triage.alerting.rules import keys_of
from stream_triage.records import Verdict

__all__ = ["leave_groups"]


def leave_groups(connection: sqlite3.Connection, run_id: str) -> int:
    """Removes a run and its alerts from their groups, and groups without any other run; returns how many rows changed."""
    first = "SELECT id FROM groups WHERE json_extract(verdict, '$.run_id') = ?"
    member = "SELECT group_id FROM alerts WHERE run_id = ?"
    groups = {number for query in (first, member) for (number,) in connection.execute(query, (run_id,))}
    for number in groups:
        _leave(connection, number, run_id)
    return len(groups) + connection.execute("DELETE FROM alerts WHERE run_id = ?", (run_id,)).rowcount


def _leave(connection: sqlite3.Connection, number: int, run_id: str) -> None:
    alerts = connection.execute(
        "SELECT run_id, reason, verdict FROM alerts WHERE group_id = ? ORDER BY rowid", (number,)
    ).fetchall()
    others = [alert for alert in alerts if alert[0] != run_id]
    if not others:
        connection.execute("DELETE FROM groups WHERE id = ?", (number,))
        return
    runs, reported, raw = connection.execute(
        "SELECT runs, reported_runs, verdict FROM groups WHERE id = ?", (number,)
    ).fetchone()
    # Alerts of the oldest runs may have been pruned: these are the last ones.
    order = [alert[0] for alert in alerts]
    place = runs - len(alerts) + order.index(run_id) + 1 if run_id in order else 1
    connection.execute(
        "UPDATE groups SET runs = ?, reported_runs = ? WHERE id = ?", (runs - 1, reported - (place <= reported), number)
    )
    verdict = Verdict.model_validate_json(raw)
    if verdict.run_id == run_id:
        name, reason, own = others[0]
        replacement = Verdict.model_validate_json(own) if own else _anonymous(verdict, name)
        keys = json.dumps(sorted(keys_of(replacement))) if own else "[]"
        connection.execute(
            "UPDATE groups SET verdict = ?, reason = ?, keys = ? WHERE id = ?",
            (replacement.model_dump_json(), reason, keys, number),
        )


def _anonymous(verdict: Verdict, run_id: str) -> Verdict:
    """What similar runs have in common, under the id of another one: its own verdict was not kept by earlier releases."""
    quoted = (
        "review_reasons",
        "anomalies",
        "anomaly_count",
        "evidence",
        "reduction",
        "ues",
        "sources",
        "headers",
        "started",
    )
    kept = verdict.model_dump(exclude={*quoted, "run_id", "time", "content"})
    return Verdict(**kept, run_id=run_id)
