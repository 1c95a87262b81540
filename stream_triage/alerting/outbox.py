"""Verdicts in; alerts that wait to be sent out, those of similar failures in one group. The outbox is a SQLite file.

A verdict never waits for its alerts: what cannot be written is kept for the next flush and reported, not raised. `due`
returns the groups to send, `mark_sent` and `mark_failed` record the result. Whoever sends opens the file a second time.
"""

import json
import sqlite3
import zlib
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple, Self

from stream_triage.alerting.leaving import leave_groups
from stream_triage.alerting.rules import RECENT_RUNS, Alert, History, Outcomes, alerts_of, keys_of, similar
from stream_triage.clients.sqlite import Database, Schema
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import Verdict
from stream_triage.settings import AlertRule, AlertSettings

__all__ = ["SCHEMA", "AlertStatus", "Group", "Outbox", "silence_after"]

_HOUR_SECONDS: Final = 3600.0
# A failure joins a group whose last run is at most this old, else it begins a group of its own.
GROUP_SECONDS: Final = 24 * _HOUR_SECONDS
# Another process sends a group when the one that claimed it has not reported for so long. Sending takes seconds.
CLAIM_SECONDS: Final = 300.0
EARLIER_RUNS: Final = 200
# Verdicts kept in memory while the file cannot be written; beyond that, the oldest are dropped.
MAX_WAITING: Final = 10_000
# Of these, a flush writes so many at most: a worker has other things to do.
FLUSH_VERDICTS: Final = 500
# Keys of new templates that are remembered; beyond that, those seen least recently are dropped and would be new again.
MAX_SEEN_KEYS: Final = 100_000
BUSY_SECONDS: Final = 10.0

SCHEMA: Final = Schema(
    name="outbox",
    setting="alerts.path",
    application_id=0x5452414C,  # "TRAL"
    migrations=(
        (
            # With IF NOT EXISTS, since the first release wrote these tables without a version.
            """
            CREATE TABLE IF NOT EXISTS groups (
                id INTEGER PRIMARY KEY, rule TEXT, team TEXT, label TEXT, cause TEXT, keys TEXT, reason TEXT, verdict TEXT,
                runs INTEGER, told INTEGER DEFAULT 0, last_time REAL, not_before REAL, sent_time REAL,
                tries INTEGER DEFAULT 0, delivered TEXT DEFAULT '[]')
            """,
            "CREATE INDEX IF NOT EXISTS groups_alike ON groups (rule, label, last_time)",
            """
            CREATE TABLE IF NOT EXISTS alerts (
                run_id TEXT, rule TEXT, reason TEXT, group_id INTEGER, time REAL, PRIMARY KEY (run_id, rule))
            """,
            """
            CREATE TABLE IF NOT EXISTS outcomes (
                run_id TEXT PRIMARY KEY, version INTEGER, test_case TEXT, time REAL, failed INTEGER)
            """,
            "CREATE INDEX IF NOT EXISTS outcomes_case ON outcomes (test_case, time)",
            "CREATE TABLE IF NOT EXISTS seen_keys (key TEXT PRIMARY KEY)",
            "CREATE TABLE IF NOT EXISTS sent (time REAL, team TEXT)",
        ),
        (
            "ALTER TABLE groups RENAME COLUMN told TO reported_runs",
            "ALTER TABLE seen_keys ADD COLUMN last_seen REAL NOT NULL DEFAULT 0",
            "CREATE INDEX seen_keys_by_time ON seen_keys (last_seen)",
        ),
        # The verdict of each run of a group, in case that the first one is forgotten; NULL for alerts written before.
        ("ALTER TABLE alerts ADD COLUMN verdict TEXT",),
    ),
    unversioned_tables=frozenset(("groups", "alerts", "outcomes", "seen_keys", "sent")),
)


class Group(NamedTuple):
    """Similar failures, some of which were not reported yet."""

    id: int
    rule: AlertRule
    team: str | None
    reason: str
    verdict: Verdict
    """Verdict of the first run."""
    runs: int
    """How many runs the group has."""
    tries: int
    """Failed attempts to send the current message."""
    delivered: frozenset[str]
    """Names of the targets that accepted the current message, while others did not."""


class AlertStatus(NamedTuple):
    """An alert of one run, and whether it was sent."""

    rule: str
    reason: str
    team: str | None
    runs: int
    """How many runs its group has, this one included."""
    sent: datetime | None
    """When the last message about the group was sent."""
    not_before: datetime
    """When the next message about the group may be sent."""


class _Waiting:
    """A verdict that waits. A verdict object takes 140 KB, compressed 5 KB, and thousands may wait for a disk."""

    __slots__ = ("_verdict", "run_id")

    def __init__(self, verdict: Verdict) -> None:
        self.run_id = verdict.run_id
        self._verdict: Verdict | bytes = verdict

    def verdict(self) -> Verdict:
        if isinstance(self._verdict, Verdict):
            return self._verdict
        return Verdict.model_validate_json(zlib.decompress(self._verdict))

    def compress(self) -> None:
        if isinstance(self._verdict, Verdict):
            self._verdict = zlib.compress(self._verdict.model_dump_json().encode(), 1)


class Outbox:
    """A sink that keeps alerts until they are sent. Processes may share the file; one object is for one thread at a time."""

    def __init__(
        self,
        settings: AlertSettings,
        *,
        clock: Clock | None = None,
        on_trouble: Callable[[str], None] | None = None,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """Opens the file and creates or migrates it if necessary.

        Args:
            settings: Path, rules, and how long messages wait.
            clock: Decides what is due.
            on_trouble: Receives a message when a flush fails, once until one succeeds again.
            busy_seconds: How long to wait for the locks of other processes.

        Raises:
            StoreError: The file cannot be opened, is of another program, or was written by a newer release.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self._on_trouble = on_trouble or (lambda text: None)
        self._waiting: deque[_Waiting] = deque(maxlen=MAX_WAITING)
        self._troubled = False
        self._database = Database(settings.path, SCHEMA, self._clock, busy_seconds=busy_seconds)

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Takes a final verdict; provisional ones are ignored. Buffers until `flush`."""
        self._database.check_open()
        if verdict.final:
            self._waiting.append(_Waiting(verdict))

    def flush(self) -> None:
        """Writes the alerts of the verdicts taken so far; after a failure, of the first `FLUSH_VERDICTS` of them.

        Does not raise if the file is locked or its disk full, since an alert must not delay a verdict: the verdicts wait
        for the next flush.
        """
        self._database.check_open()
        if not self._waiting:
            return
        written = list(islice(self._waiting, FLUSH_VERDICTS))
        try:
            with self._database.transaction() as connection:
                for waiting in written:
                    self._take(connection, waiting.verdict())
        except StoreError as error:
            for waiting in self._waiting:
                waiting.compress()
            if not self._troubled:
                self._on_trouble(f"alerts cannot be written and wait in memory: {error}")
            self._troubled = True
        else:
            for _ in written:
                self._waiting.popleft()
            self._troubled = False

    def close(self) -> None:
        """Flushes and closes the file. Verdicts that cannot be written even now are dropped."""
        if self._database.closed:
            return
        try:
            left = len(self._waiting) + 1
            while 0 < len(self._waiting) < left:
                left = len(self._waiting)
                self.flush()
        finally:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_writable(self) -> None:
        """Raises `StoreError` if another program holds the lock of the file, or it cannot be written at all."""
        self._database.check_writable()

    def forget(self, run_id: str) -> bool:
        """Removes a run; false if there was nothing to remove.

        Similar runs are still reported, without it. A message that is being sent just now cannot be stopped.
        """
        waiting = [each for each in self._waiting if each.run_id != run_id]
        removed = len(self._waiting) - len(waiting)
        self._waiting = deque(waiting, MAX_WAITING)
        with self._database.transaction() as connection:
            removed += connection.execute("DELETE FROM outcomes WHERE run_id = ?", (run_id,)).rowcount
            for name in run_id, silence_after(run_id):
                removed += leave_groups(connection, name)
        # Even if nothing was removed: an earlier call may have failed here because of a reader.
        self._database.wipe_log()
        return removed > 0

    def prune(self, before: datetime) -> None:
        """Removes outcomes, alerts and groups that are older; keys of templates stay."""
        with self._database.transaction() as connection:
            for table, column in (("outcomes", "time"), ("alerts", "time"), ("groups", "last_time")):
                connection.execute(f"DELETE FROM {table} WHERE {column} < ?", (before.timestamp(),))  # noqa: S608 - constants

    def due(self) -> list[Group]:
        """Returns the groups with unreported runs that may be sent now, oldest first."""
        rows = self._database.ask(
            "SELECT id, rule, team, reason, verdict, runs, tries, delivered FROM groups "
            "WHERE runs > reported_runs AND not_before <= ? ORDER BY id",
            self._now(),
        )
        return [
            Group(
                number, rule, team, reason, Verdict.model_validate_json(raw), runs, tries, frozenset(json.loads(delivered))
            )
            for number, rule, team, reason, raw, runs, tries, delivered in rows
        ]

    def claim(self, group: Group) -> bool:
        """Reserves a group for the caller for some minutes; false if another process has sent or reserved it since."""
        with self._database.transaction() as connection:
            claimed = connection.execute(
                "UPDATE groups SET not_before = ? WHERE id = ? AND runs > reported_runs AND not_before <= ?",
                (self._now() + CLAIM_SECONDS, group.id, self._now()),
            )
        return claimed.rowcount == 1

    def make_due(self) -> None:
        """Makes first messages due at once: no further run will come, so they need not wait for similar failures."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE groups SET not_before = 0 WHERE reported_runs = 0 AND tries = 0")

    def mark_sent(self, group: Group) -> None:
        """Records that all targets accepted the message; the next one about this group waits `repeat_hours`."""
        now = self._now()
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE groups SET reported_runs = ?, sent_time = ?, not_before = ?, tries = 0, delivered = '[]' "
                "WHERE id = ?",
                (group.runs, now, now + self._settings.repeat_hours * _HOUR_SECONDS, group.id),
            )
            connection.execute("INSERT INTO sent (time, team) VALUES (?, ?)", (now, group.team))
            connection.execute("DELETE FROM sent WHERE time < ?", (now - 2 * _HOUR_SECONDS,))

    def mark_failed(self, group: Group, delivered: Collection[str], wait_seconds: float) -> None:
        """Records that only the targets in `delivered` accepted the message; the others are due after `wait_seconds`."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE groups SET not_before = ?, tries = tries + 1, delivered = ? WHERE id = ?",
                (self._now() + wait_seconds, json.dumps(sorted(delivered)), group.id),
            )

    def sent_last_hour(self, team: str | None) -> int:
        """Returns how many messages a team got in the last hour."""
        query = "SELECT COUNT(*) FROM sent WHERE team IS ? AND time > ?"
        return int(self._database.ask(query, team, self._now() - _HOUR_SECONDS)[0][0])

    def last_verdict(self) -> tuple[str, datetime] | None:
        """Returns run id and time of the newest verdict."""
        rows = self._database.ask("SELECT run_id, time FROM outcomes ORDER BY time DESC LIMIT 1")
        return (rows[0][0], _time(rows[0][1])) if rows else None

    def put(self, alert: Alert, verdict: Verdict) -> None:
        """Adds an alert that does not come from a verdict written before; once for each run id and rule."""
        with self._database.transaction() as connection:
            self._add(connection, alert, verdict)

    def explain(self, run_id: str) -> list[AlertStatus]:
        """Returns the alerts of a run, by rule."""
        rows = self._database.ask(
            "SELECT a.rule, a.reason, g.team, g.runs, g.sent_time, g.not_before FROM alerts a "
            "JOIN groups g ON g.id = a.group_id WHERE a.run_id = ? ORDER BY a.rule",
            run_id,
        )
        return [
            AlertStatus(rule, reason, team, runs, None if sent is None else _time(sent), _time(not_before))
            for rule, reason, team, runs, sent, not_before in rows
        ]

    def history(self, verdict: Verdict) -> History:
        """Returns what was known before this verdict; its own run counts among the recent ones."""
        new = _new_keys(verdict)
        marks = ",".join("?" * len(new))
        known = f"SELECT key FROM seen_keys WHERE key IN ({marks})"  # noqa: S608 - marks only
        seen = self._database.ask(known, *sorted(new))
        unseen = new - {key for (key,) in seen}
        case = verdict.headers.get("test.case.name")
        if not case:
            return History(unseen)
        rows = self._database.ask(
            "SELECT failed FROM outcomes WHERE test_case = ? AND run_id != ? ORDER BY time DESC, rowid DESC LIMIT ?",
            case,
            verdict.run_id,
            RECENT_RUNS - 1 + EARLIER_RUNS,
        )
        failed = [int(not verdict.passed), *(row[0] for row in rows)]
        recent, earlier = failed[:RECENT_RUNS], failed[RECENT_RUNS:]
        return History(unseen, Outcomes(len(recent), sum(recent)), Outcomes(len(earlier), sum(earlier)))

    def _take(self, connection: sqlite3.Connection, verdict: Verdict) -> None:
        """Adds the alerts of a verdict; one that was taken before, as after a crash of the worker, changes nothing."""
        row = connection.execute("SELECT version FROM outcomes WHERE run_id = ?", (verdict.run_id,)).fetchone()
        if row and row[0] >= verdict.version:
            return
        for alert in alerts_of(verdict, self.history(verdict), self._settings.rules):
            self._add(connection, alert, verdict)
        time = verdict.time.timestamp() if verdict.time else self._now()
        # A verdict that needs a review makes no second message either. It counts in no rate, and the kinds of line that only
        # such runs had are still unseen.
        case = None if verdict.needs_review else verdict.headers.get("test.case.name")
        connection.execute(
            "INSERT OR REPLACE INTO outcomes (run_id, version, test_case, time, failed) VALUES (?, ?, ?, ?, ?)",
            (verdict.run_id, verdict.version, case, time, int(not verdict.passed)),
        )
        if not verdict.needs_review:
            self._remember(connection, _new_keys(verdict))

    def _remember(self, connection: sqlite3.Connection, keys: frozenset[str]) -> None:
        if not keys:
            return
        now = self._now()
        connection.executemany(
            "INSERT INTO seen_keys (key, last_seen) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET last_seen = excluded.last_seen",
            [(key, now) for key in sorted(keys)],
        )
        newest = "SELECT key FROM seen_keys ORDER BY last_seen DESC LIMIT -1 OFFSET ?"
        connection.execute(f"DELETE FROM seen_keys WHERE key IN ({newest})", (MAX_SEEN_KEYS,))  # noqa: S608 - a constant

    def _add(self, connection: sqlite3.Connection, alert: Alert, verdict: Verdict) -> None:
        known = connection.execute("SELECT 1 FROM alerts WHERE run_id = ? AND rule = ?", (verdict.run_id, alert.rule))
        if known.fetchone():
            return
        now, keys = self._now(), keys_of(verdict)
        group = self._similar_group(connection, alert, verdict, keys)
        if group is None:
            fields = (alert.rule, verdict.team, verdict.label, verdict.cause, json.dumps(sorted(keys)), alert.reason)
            group = connection.execute(
                "INSERT INTO groups (rule, team, label, cause, keys, reason, verdict, runs, last_time, not_before) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                (*fields, verdict.model_dump_json(), now, now + self._settings.gather_seconds),
            ).lastrowid
        else:
            connection.execute("UPDATE groups SET runs = runs + 1, last_time = ? WHERE id = ?", (now, group))
        connection.execute(
            "INSERT INTO alerts (run_id, rule, reason, group_id, time, verdict) VALUES (?, ?, ?, ?, ?, ?)",
            (verdict.run_id, alert.rule, alert.reason, group, now, _without_reduction(verdict).model_dump_json()),
        )

    def _similar_group(
        self, connection: sqlite3.Connection, alert: Alert, verdict: Verdict, keys: frozenset[str]
    ) -> int | None:
        rows = connection.execute(
            "SELECT id, keys FROM groups WHERE rule = ? AND team IS ? AND label = ? AND cause IS ? AND last_time >= ? "
            "ORDER BY id DESC",
            (alert.rule, verdict.team, verdict.label, verdict.cause, self._now() - GROUP_SECONDS),
        )
        return next((int(row[0]) for row in rows.fetchall() if similar(json.loads(row[1]), keys)), None)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def silence_after(run_id: str) -> str:
    """The id that takes the place of a run in an alert about runs that do not come after this one."""
    return f"silence after {run_id}"


def _without_reduction(verdict: Verdict) -> Verdict:
    """No message quotes the lines worth reading, and they are most of a verdict."""
    return verdict.model_copy(update={"reduction": ()})


def _new_keys(verdict: Verdict) -> frozenset[str]:
    """Keys of the templates that the bundle does not know."""
    return frozenset(anomaly.key for anomaly in verdict.anomalies if anomaly.kind == "new" and anomaly.key)


def _time(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
