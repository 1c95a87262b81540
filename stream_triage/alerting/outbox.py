"""Verdicts in; alerts that wait to be sent, alike ones together, out of a SQLite file: the outbox of product alerts.

A verdict never waits for it: what cannot be written is kept for the next flush and told, not raised. `due` gives what may be
sent, `told` and `failed` say what became of it; whoever sends has a connection of its own.
"""

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from stream_triage.alerting.rules import RECENT_RUNS, Alert, History, Outcomes, alerts_of, alike, keys_of
from stream_triage.clients.sqlite import connect, create_private, transaction, use_write_ahead_log, wipe_log
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import Verdict
from stream_triage.settings import AlertRule, AlertSettings

__all__ = ["Group", "Outbox", "Told"]

_HOUR_SECONDS: Final = 3600.0
# Failures like an older one begin a group of their own.
GROUP_SECONDS: Final = 24 * _HOUR_SECONDS
# A group whose sender died is sent by another after so long; apprise waits for seconds, not minutes.
CLAIM_SECONDS: Final = 300.0
EARLIER_RUNS: Final = 200
# While the file cannot be written; the oldest give way.
MOST_WAITING: Final = 10_000
BUSY_SECONDS: Final = 10.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY, rule TEXT, team TEXT, label TEXT, cause TEXT, keys TEXT, reason TEXT, verdict TEXT,
    runs INTEGER, told INTEGER DEFAULT 0, last_time REAL, not_before REAL, sent_time REAL, tries INTEGER DEFAULT 0,
    delivered TEXT DEFAULT '[]');
CREATE INDEX IF NOT EXISTS groups_alike ON groups (rule, label, last_time);
CREATE TABLE IF NOT EXISTS alerts (
    run_id TEXT, rule TEXT, reason TEXT, group_id INTEGER, time REAL, PRIMARY KEY (run_id, rule));
CREATE TABLE IF NOT EXISTS outcomes (run_id TEXT PRIMARY KEY, version INTEGER, test_case TEXT, time REAL, failed INTEGER);
CREATE INDEX IF NOT EXISTS outcomes_case ON outcomes (test_case, time);
CREATE TABLE IF NOT EXISTS seen_keys (key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS sent (time REAL, team TEXT);
"""


class Group(NamedTuple):
    """Failures that are alike, of which some were not told yet."""

    id: int
    rule: AlertRule
    team: str | None
    reason: str
    verdict: Verdict
    """Of the first run."""
    runs: int
    tries: int
    delivered: frozenset[str]
    """Targets that have the message already, where others have not."""


class Told(NamedTuple):
    """What became of an alert of one run."""

    rule: str
    reason: str
    team: str | None
    runs: int
    """How many runs are alike, this one among them."""
    sent: datetime | None
    not_before: datetime


class Outbox:
    """A sink. `on_trouble` is told what cannot be written."""

    def __init__(
        self,
        settings: AlertSettings,
        *,
        clock: Clock | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._on_trouble = on_trouble or (lambda text: None)
        self._waiting: deque[Verdict] = deque(maxlen=MOST_WAITING)
        self._closed = False
        self._troubled = False
        try:
            create_private(settings.path)
            # A worker flushes in another thread than it opens in, one thread at a time.
            self._db = connect(settings.path, BUSY_SECONDS)
            use_write_ahead_log(self._db, self._clock, BUSY_SECONDS)
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the outbox {settings.path} cannot be opened: {error}; choose another alerts.path") from None

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        self._check_open()
        if verdict.final:
            self._waiting.append(verdict)

    def flush(self) -> None:
        """Does not raise where the disk is full: an alert must not hold up a verdict."""
        self._check_open()
        if not self._waiting:
            return
        try:
            with transaction(self._db):
                for verdict in self._waiting:
                    self._take(verdict)
        except sqlite3.Error as error:
            if not self._troubled:  # once: it comes with every flush until it is mended
                self._on_trouble(f"alerts cannot be written to {self._settings.path}: {error}; those of further runs wait")
            self._troubled = True
        else:
            self._waiting.clear()
            self._troubled = False

    def close(self) -> None:
        if not self._closed:
            self.flush()
            self._closed = True
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self, run_id: str) -> bool:
        """Removes what is known of a run; a group it began loses its text, and is not told any more."""
        with transaction(self._db):
            found = self._db.execute("DELETE FROM outcomes WHERE run_id = ?", (run_id,)).rowcount
            found += self._db.execute("DELETE FROM alerts WHERE run_id = ?", (run_id,)).rowcount
            found += self._db.execute("DELETE FROM groups WHERE json_extract(verdict, '$.run_id') = ?", (run_id,)).rowcount
        wipe_log(self._db, self._settings.path)
        return found > 0

    def prune(self, before: datetime) -> None:
        """Forgets what is older."""
        with transaction(self._db):
            for table, column in (("outcomes", "time"), ("alerts", "time"), ("groups", "last_time")):
                self._db.execute(f"DELETE FROM {table} WHERE {column} < ?", (before.timestamp(),))  # noqa: S608 - constants

    def due(self) -> list[Group]:
        """Groups with runs that were not told yet, whose time has come; oldest first."""
        rows = self._db.execute(
            "SELECT id, rule, team, reason, verdict, runs, tries, delivered FROM groups "
            "WHERE runs > told AND not_before <= ? ORDER BY id",
            (self._now(),),
        )
        return [
            Group(
                number, rule, team, reason, Verdict.model_validate_json(raw), runs, tries, frozenset(json.loads(delivered))
            )
            for number, rule, team, reason, raw, runs, tries, delivered in rows.fetchall()
        ]

    def claim(self, group: Group) -> bool:
        """Whether it is the caller's to send, for some minutes: another process with the same outbox was not quicker."""
        with transaction(self._db):
            claimed = self._db.execute(
                "UPDATE groups SET not_before = ? WHERE id = ? AND runs > told AND not_before <= ?",
                (self._now() + CLAIM_SECONDS, group.id, self._now()),
            )
        return claimed.rowcount == 1

    def hurry(self) -> None:
        """Nothing more will come: first messages need not wait for runs like theirs."""
        with transaction(self._db):
            self._db.execute("UPDATE groups SET not_before = 0 WHERE told = 0 AND tries = 0")

    def told(self, group: Group) -> None:
        """Its message has left; the same is not told again for a while, however many runs follow."""
        now = self._now()
        with transaction(self._db):
            self._db.execute(
                "UPDATE groups SET told = ?, sent_time = ?, not_before = ?, tries = 0, delivered = '[]' WHERE id = ?",
                (group.runs, now, now + self._settings.repeat_hours * _HOUR_SECONDS, group.id),
            )
            self._db.execute("INSERT INTO sent VALUES (?, ?)", (now, group.team))
            self._db.execute("DELETE FROM sent WHERE time < ?", (now - 2 * _HOUR_SECONDS,))

    def failed(self, group: Group, delivered: Collection[str], wait_seconds: float) -> None:
        """Not all targets took it; those that did are not asked again."""
        with transaction(self._db):
            self._db.execute(
                "UPDATE groups SET not_before = ?, tries = tries + 1, delivered = ? WHERE id = ?",
                (self._now() + wait_seconds, json.dumps(sorted(delivered)), group.id),
            )

    def sent_last_hour(self, team: str | None) -> int:
        query = "SELECT COUNT(*) FROM sent WHERE team IS ? AND time > ?"
        return int(self._db.execute(query, (team, self._now() - _HOUR_SECONDS)).fetchone()[0])

    def last_verdict(self) -> tuple[str, datetime] | None:
        """Run and time of the newest verdict."""
        row = self._db.execute("SELECT run_id, time FROM outcomes ORDER BY time DESC LIMIT 1").fetchone()
        return (row[0], _time(row[1])) if row else None

    def put(self, alert: Alert, verdict: Verdict) -> None:
        """An alert that no verdict made; once for each run id."""
        with transaction(self._db):
            self._add(alert, verdict)

    def explain(self, run_id: str) -> list[Told]:
        """The alerts that a run made."""
        rows = self._db.execute(
            "SELECT a.rule, a.reason, g.team, g.runs, g.sent_time, g.not_before FROM alerts a "
            "JOIN groups g ON g.id = a.group_id WHERE a.run_id = ? ORDER BY a.rule",
            (run_id,),
        )
        return [
            Told(rule, reason, team, runs, None if sent is None else _time(sent), _time(not_before))
            for rule, reason, team, runs, sent, not_before in rows.fetchall()
        ]

    def history(self, verdict: Verdict) -> History:
        """What was before this verdict, which itself counts among the recent ones."""
        new = {anomaly.key for anomaly in verdict.anomalies if anomaly.kind == "new" and anomaly.key}
        marks = ",".join("?" * len(new))
        seen = self._db.execute(f"SELECT key FROM seen_keys WHERE key IN ({marks})", sorted(new))  # noqa: S608 - marks only
        unseen = frozenset(new - {key for (key,) in seen.fetchall()})
        case = verdict.headers.get("test.case.name")
        if not case:
            return History(unseen)
        rows = self._db.execute(
            "SELECT failed FROM outcomes WHERE test_case = ? AND run_id != ? ORDER BY time DESC, rowid DESC LIMIT ?",
            (case, verdict.run_id, RECENT_RUNS - 1 + EARLIER_RUNS),
        )
        failed = [int(not verdict.passed), *(row[0] for row in rows.fetchall())]
        recent, earlier = failed[:RECENT_RUNS], failed[RECENT_RUNS:]
        return History(unseen, Outcomes(len(recent), sum(recent)), Outcomes(len(earlier), sum(earlier)))

    def _take(self, verdict: Verdict) -> None:
        """A verdict that came before, as after a crash of the worker, changes nothing."""
        row = self._db.execute("SELECT version FROM outcomes WHERE run_id = ?", (verdict.run_id,)).fetchone()
        if row and row[0] >= verdict.version:
            return
        history = self.history(verdict)
        for alert in alerts_of(verdict, history, self._settings.rules):
            self._add(alert, verdict)
        time = verdict.time.timestamp() if verdict.time else self._now()
        case = verdict.headers.get("test.case.name")
        self._db.execute(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?)",
            (verdict.run_id, verdict.version, case, time, int(not verdict.passed)),
        )
        self._db.executemany("INSERT OR IGNORE INTO seen_keys VALUES (?)", [(key,) for key in history.unseen_keys])

    def _add(self, alert: Alert, verdict: Verdict) -> None:
        known = self._db.execute("SELECT 1 FROM alerts WHERE run_id = ? AND rule = ?", (verdict.run_id, alert.rule))
        if known.fetchone():
            return
        now, keys = self._now(), keys_of(verdict)
        group = self._alike(alert, verdict, keys)
        if group is None:
            fields = (alert.rule, verdict.team, verdict.label, verdict.cause, json.dumps(sorted(keys)), alert.reason)
            group = self._db.execute(
                "INSERT INTO groups (rule, team, label, cause, keys, reason, verdict, runs, last_time, not_before) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                (*fields, verdict.model_dump_json(), now, now + self._settings.gather_seconds),
            ).lastrowid
        else:
            self._db.execute("UPDATE groups SET runs = runs + 1, last_time = ? WHERE id = ?", (now, group))
        self._db.execute("INSERT INTO alerts VALUES (?, ?, ?, ?, ?)", (verdict.run_id, alert.rule, alert.reason, group, now))

    def _alike(self, alert: Alert, verdict: Verdict, keys: frozenset[str]) -> int | None:
        rows = self._db.execute(
            "SELECT id, keys FROM groups WHERE rule = ? AND team IS ? AND label = ? AND cause IS ? AND last_time >= ? "
            "ORDER BY id DESC",
            (alert.rule, verdict.team, verdict.label, verdict.cause, self._now() - GROUP_SECONDS),
        )
        return next((int(row[0]) for row in rows.fetchall() if alike(json.loads(row[1]), keys)), None)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the outbox of alerts is closed; write before closing it")


def _time(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
