"""Alerts: which rules fire, which failures are similar, when messages are sent, and what a receiver gets."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Triage
from stream_triage.alerting.notify import Notifier, open_targets
from stream_triage.alerting.outbox import Outbox
from stream_triage.alerting.rules import Alert, History, Message, Outcomes, alerts_of, keys_of, message, similar, team_of
from stream_triage.clock import FakeClock
from stream_triage.errors import SettingsError
from stream_triage.records import Anomaly, Evidence, Verdict
from stream_triage.settings import AlertSettings, Route, Settings
from tests.commands import call
from tests.corpus import make_run
from tests.receiver import Receiver
from tests.verdicts import make_verdict

ALL = ("failed", "anomalous", "disagreement", "new_template", "failure_rate", "silence")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def failing(run_id: str = "a", text: str = "UE Id: 3 registration reject, cause #12", **more: Any) -> Verdict:
    """A failed run shown by one line, whose template has no numbers."""
    key = re.sub(r"\d+", "<*>", text)
    evidence = (Evidence(kind="line", weight=2.0, source="tm500", number=7, text=text, key=key),)
    fields = {"label": "L3", "passed": False, "confidence": 0.97, "evidence": evidence, "time": NOON, "team": "core"}
    return make_verdict(run_id, **{**fields, **more})


class FakeTarget:
    def __init__(self, name: str = "t", *, takes: bool = True) -> None:
        self.name, self.takes, self.got = name, takes, list[Message]()
        self.asked = 0

    def send(self, message: Message) -> bool:
        self.asked += 1
        if self.takes:
            self.got.append(message)
        return self.takes


class Post:
    """Outbox, clock, target and notifier of one test."""

    def __init__(self, folder: Path, target: FakeTarget | None = None, **settings: Any) -> None:
        self.clock, self.target, self.troubles = FakeClock(NOON), target or FakeTarget(), list[str]()
        self.settings = AlertSettings(path=folder / "alerts.sqlite", **settings)
        self.outbox = Outbox(self.settings, clock=self.clock, on_trouble=self.troubles.append, busy_seconds=0.05)
        self.targets: dict[str, list[FakeTarget]] = {"default": [self.target]}
        self.notifier = Notifier(self.outbox, self.settings, self.targets, clock=self.clock, on_trouble=self.troubles.append)

    def give(self, *verdicts: Verdict) -> None:
        for verdict in verdicts:
            self.outbox.write(verdict)
        self.outbox.flush()

    def after(self, seconds: float) -> int:
        self.clock.advance(seconds)
        return self.notifier.send_due()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.outbox.close()


def firing(verdict: Verdict, history: History = History()) -> list[str]:  # noqa: B008 - a constant
    return [alert.rule for alert in alerts_of(verdict, history, ALL)]


class TestRules:
    @pytest.mark.parametrize(
        ("verdict", "rules"),
        [
            (make_verdict(), []),
            (failing(), ["failed"]),
            (make_verdict(anomalous=True), ["anomalous"]),
            (make_verdict(headers={"test.case.result.status": "FAILED"}), ["disagreement"]),
            (make_verdict(headers={"test.case.result.status": "passed"}), []),
            (failing(headers={"test.case.result.status": "Pass"}), ["failed", "disagreement"]),
            (failing(headers={"test.case.result.status": "skipped"}), ["failed"]),
        ],
    )
    def test_rules_of_one_verdict(self, verdict: Verdict, rules: list[str]) -> None:
        assert firing(verdict) == rules

    @pytest.mark.parametrize(
        ("recent", "earlier", "fires"),
        [((10, 6), (100, 5), True), ((10, 2), (100, 5), False), ((10, 10), (19, 0), False), ((9, 9), (100, 0), False)],
    )
    def test_failure_rate(self, recent: tuple[int, int], earlier: tuple[int, int], fires: bool) -> None:
        """It fires far above the usual rate, and only if there were enough runs before."""
        fired = firing(failing(), History(recent=Outcomes(*recent), earlier=Outcomes(*earlier)))
        assert ("failure_rate" in fired) == fires

    def test_canary_runs_fire_no_rule(self) -> None:
        assert firing(failing(headers={"test.case.name": "canary"})) == []

    def test_new_template(self) -> None:
        assert firing(make_verdict(), History(frozenset(("k",)))) == ["new_template"]

    def test_history_is_that_of_the_test_case(self, post: Post) -> None:
        """A run that is written again counts once, and a key is new once."""
        new = (Anomaly(kind="new", score=0.5, source="", number=1, key="new:k", text="x"),)
        case = {"headers": {"test.case.name": "attach"}}
        for number in range(25):
            post.give(make_verdict(f"p{number}", time=NOON + timedelta(minutes=number), **case))
        late = NOON + timedelta(days=1)
        post.give(*(failing(f"f{number}", time=late + timedelta(minutes=number), **case) for number in range(7)))
        post.give(failing("f0", time=late, **case))
        history = post.outbox.history(failing("f7", anomalies=new, **case))
        assert history == History(frozenset(("new:k",)), Outcomes(10, 8), Outcomes(23, 0))
        post.give(failing("f7", anomalies=new, **case))
        assert post.outbox.history(failing("f8", anomalies=new)).unseen_keys == frozenset()


class TestRoutes:
    ROUTES = (
        Route(team="lab", cause="environment"),
        Route(team="radio", label="L0_*", testbed="rack-?"),
        Route(team="rest"),
    )

    @pytest.mark.parametrize(
        ("verdict", "team"),
        [
            (failing(cause="environment"), "lab"),
            (failing(label="L0_L1", headers={"testbed": "rack-7"}), "radio"),
            (failing(label="L0_L1", headers={"testbed": "rack-17"}), "rest"),
            (failing(), "rest"),
            (make_verdict(anomalous=True), "rest"),
            (make_verdict(), None),
        ],
    )
    def test_first_match(self, verdict: Verdict, team: str | None) -> None:
        assert team_of(self.ROUTES, verdict) == team

    def test_reviews_go_to_routes_for_reviews_alone(self) -> None:
        """The team of a layer gets no verdict whose layer is a guess, and the team that triages none that is decided."""
        routes = (*self.ROUTES, Route(team="triage", needs_review=True))
        assert team_of(routes, failing(needs_review=True)) == "triage"
        assert team_of(routes[::-1], failing()) == "rest"
        assert team_of(self.ROUTES, failing(needs_review=True)) is None

    def test_no_match(self) -> None:
        assert team_of(self.ROUTES[:2], failing()) is None


class TestOutbox:
    def test_a_hundred_similar_runs_make_one_message(self, post: Post) -> None:
        """Other numbers, UEs and times make no difference; the message has the count at the time it is sent."""
        post.give(*(failing(f"r{n}", f"UE Id: {n} registration reject, cause #12") for n in range(60)))
        assert post.after(29) == 0
        post.give(*(failing(f"s{n}", f"UE Id: {n} registration reject, cause #12") for n in range(40)))
        assert post.after(2) == 1
        assert post.after(3600) == 0
        (message,) = post.target.got
        assert message.title == "L3: 100 runs, first r0"
        assert "rule failed: label L3 with confidence 0.97" in message.body

    def test_further_runs_are_reported_later(self, post: Post) -> None:
        """After `repeat_hours`, and only if there are further similar runs."""
        post.give(failing("a"))
        assert post.after(31) == 1
        post.give(failing("b"))
        assert post.after(3 * 3600) == 0
        assert post.after(3600) == 1
        assert post.after(24 * 3600) == 0
        assert [message.title for message in post.target.got] == ["L3: a", "L3: 2 runs, first a"]

    def test_different_failures_have_separate_messages(self, post: Post) -> None:
        post.give(failing("a"), failing("b", "RLC maximum reached"), failing("c", label="L2"), failing("d", team="other"))
        assert post.after(31) == 4

    def test_a_verdict_that_is_written_again_is_not_reported_again(self, post: Post) -> None:
        post.give(failing("a"))
        assert post.after(31) == 1
        post.give(failing("a"), failing("a", version=401))
        assert post.after(24 * 3600) == 0
        assert post.outbox.explain("a")[0].runs == 1

    def test_provisional_verdicts_and_passes_make_no_message(self, post: Post) -> None:
        post.give(failing("a", final=False), make_verdict("b"))
        assert post.after(31) == 0

    def test_alerts_survive_a_restart(self, post: Post, tmp_path: Path) -> None:
        post.give(failing("a"))
        post.outbox.close()
        again = Post(tmp_path)
        assert again.after(31) == 1
        again.outbox.close()

    def test_a_locked_file_delays_no_verdict(self, post: Post) -> None:
        """It is reported once; the alerts wait and are written when the file is free."""
        other = sqlite3.connect(post.settings.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        post.give(failing("a"), failing("b"))
        post.outbox.flush()
        assert len(post.troubles) == 1
        assert "cannot be written" in post.troubles[0]
        other.execute("COMMIT")
        other.close()
        post.outbox.flush()
        assert post.after(31) == 1

    def test_forgotten_runs_are_not_reported(self, post: Post) -> None:
        post.give(failing("a", "a word of its own"))
        assert post.outbox.forget("a")
        files = list(post.settings.path.parent.glob("alerts.sqlite*"))
        assert not any(b"a word of its own" in file.read_bytes() for file in files)
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert not post.outbox.forget("a")
        assert post.after(31) == 0


class TestNotifier:
    def test_only_targets_that_rejected_a_message_get_it_again(self, tmp_path: Path) -> None:
        post = Post(tmp_path, FakeTarget("bad", takes=False))
        good = FakeTarget("good")
        post.targets["default"].append(good)
        post.give(failing("a"))
        assert [post.after(seconds) for seconds in (31, 29, 2, 57, 4)] == [0] * 5
        assert post.target.asked == 3  # at once, after 30 s, after 60 s more
        post.target.takes = True
        assert post.after(121) == 1
        assert (len(good.got), len(post.target.got)) == (1, 1)
        assert len(post.troubles) == 1
        post.outbox.close()

    def test_workers_with_one_outbox_send_once(self, tmp_path: Path) -> None:
        """The same group is due for both, and one sends it. If that one dies meanwhile, the other sends it minutes later."""
        posts = [Post(tmp_path) for _ in range(2)]
        posts[0].give(failing("a"))
        posts[1].give(failing("b"))
        for post in posts:
            post.clock.advance(31)
        (group,) = posts[0].outbox.due()
        assert (group.runs, posts[1].outbox.due()) == (2, [group])
        assert posts[0].outbox.claim(group)
        assert [post.after(0) for post in posts] == [0, 0]
        assert posts[1].after(299) == 0
        assert posts[1].after(2) == 1
        assert (posts[0].after(999), len(posts[1].target.got)) == (0, 1)

    def test_teams_have_their_targets(self, post: Post) -> None:
        core = FakeTarget("core")
        post.targets["core"] = [core]
        post.give(failing("a"), failing("b", team="none"))
        assert post.after(31) == 2
        assert ([message.title for message in core.got], [message.title for message in post.target.got]) == (
            ["L3: a"],
            ["L3: b"],
        )

    def test_link(self, tmp_path: Path) -> None:
        """It leads to the run, whatever characters its id has."""
        post = Post(tmp_path, link="https://triage/{run_id}", gather_seconds=0)
        post.give(failing("runs/a.log#0123 x"))
        assert post.notifier.send_due() == 1
        assert post.target.got[0].body.endswith("\nhttps://triage/runs%2Fa.log%230123%20x")
        post.outbox.close()

    def test_a_missing_target_is_reported_once(self, post: Post) -> None:
        post.targets.clear()
        post.give(failing("a"))
        assert (post.after(31), post.after(31)) == (0, 0)
        assert post.troubles == ["no target for alerts of team core; name one in alerts.targets, or a default"]

    @pytest.mark.parametrize(("hours", "zone", "quiet"), [
        ("22:00-06:00", "UTC", False), ("11:00-13:00", "UTC", True), ("13:00-12:01", "UTC", True),
        ("12:30-14:00", "Europe/Berlin", True), ("11:00-12:30", "Europe/Berlin", False),
    ])  # fmt: skip
    def test_quiet_hours(self, tmp_path: Path, hours: str, zone: str, quiet: bool) -> None:
        """By the clock of the time zone, over midnight too; what waits is sent afterwards."""
        post = Post(tmp_path, quiet_hours=hours, timezone=zone, gather_seconds=0)
        post.give(failing("a"))
        assert (post.notifier.quiet(), post.notifier.send_due()) == (quiet, int(not quiet))
        assert post.after(24 * 3600 - 1) == 0 or not quiet
        assert sum(post.after(3600) for _ in range(24)) == int(quiet)
        post.outbox.close()

    def test_a_team_gets_at_most_so_many_messages_in_an_hour(self, tmp_path: Path) -> None:
        post = Post(tmp_path, per_hour=2, gather_seconds=0)
        words = ("alpha", "beta", "gamma", "delta", "epsilon")
        post.give(*(failing(word, f"{word} went wrong") for word in words))
        assert [post.notifier.send_due(), post.after(60), post.after(3600), post.after(3601)] == [2, 0, 2, 1]
        post.outbox.close()

    def test_silence(self, tmp_path: Path) -> None:
        """Reported once after the configured time, and again when verdicts came and stopped again."""
        post = Post(tmp_path, rules=("silence",), silence_minutes=30, gather_seconds=0)
        assert post.after(3600) == 0  # there never was a verdict
        post.give(make_verdict("a", time=post.clock.now()))
        assert [post.after(minutes * 60) for minutes in (29, 2, 60)] == [0, 1, 0]
        post.give(make_verdict("b", time=post.clock.now()))
        assert [post.after(60), post.after(5 * 3600)] == [0, 1]
        assert "no verdict for more than 30 minutes, the last one was a" in post.target.got[0].body
        post.outbox.close()


HOSTILE = "\x1b[31m<script>alert(1)</script> @channel <!here> \u202egnp.exe\x00 |" + "A" * 5000


def test_hostile_text_is_only_text() -> None:
    """Control characters, mentions and tags are disarmed in every field that a message shows."""
    headers = {"test.case.name": HOSTILE, "testbed": HOSTILE, "service.version": HOSTILE}
    made = message(
        failing(HOSTILE, HOSTILE, label="L3", headers=headers), Alert("failed", HOSTILE), 3, "https://x/" + HOSTILE
    )
    for text in (made.title, *made.body.split("\n")):
        assert text.isprintable() or "\u2060" in text
        assert not set(text) & set("\x1b\x00\u202e\r\n\t")
        assert "<s" not in text
        assert "<!" not in text
        assert "@c" not in text
        assert len(text) < 600


class TestSignature:
    def line(self, text: str, key: str = "", weight: float = 1.0) -> Evidence:
        return Evidence(kind="line", weight=weight, source="tm500", number=7, text=text, key=key)

    def keys(self, *evidence: Evidence, **more: Any) -> frozenset[str]:
        return keys_of(make_verdict(passed=False, label="L3", evidence=evidence, **more))

    def test_lines_count_by_their_template(self) -> None:
        """Numbers, times and UEs of a line make no difference, since its template key has none of them."""
        one = self.keys(self.line("31/08/25 15:33:49:609 I: REJECT:UE Id:2", "k1"))
        other = self.keys(self.line("01/09/25 01:00:00:001 I: REJECT:UE Id:17", "k1"))
        assert one == other == frozenset(("k1",))
        assert one != self.keys(self.line("31/08/25 15:33:49:609 I: REJECT:UE Id:2", "k2"))

    def test_lines_without_a_key_count_by_their_text(self) -> None:
        """Verdicts of an older release have none: different failures must not look the same."""
        stored = Verdict.model_validate_json(make_verdict(evidence=(self.line("REJECT"),)).model_dump_json())
        assert keys_of(stored) == frozenset(("REJECT",)) != self.keys(self.line("RLC maximum reached"))

    def test_lines_of_a_run_have_the_keys_of_its_bundle(self, triage: Triage) -> None:
        """Two runs that are rejected for the same cause have the same signature, though their numbers differ."""
        signatures = []
        for number in (0, 1):
            session = triage.session(f"r{number}")
            for source, text in make_run("L3", number).sources.items():
                session.feed(text, source)
            verdict = session.close()
            session.text.close()
            assert {bool(item.key) for item in verdict.evidence if item.kind == "line"} == {True}
            signatures.append(keys_of(verdict))
        assert similar(*signatures)

    def test_weak_and_late_evidence_is_left_out(self) -> None:
        """Below a fifth of the strongest weight, or beyond the first eight items."""
        strong = [self.line("x", f"k{number}") for number in range(9)]
        assert self.keys(*strong) == frozenset(f"k{number}" for number in range(8))
        assert self.keys(strong[0], self.line("x", "at the limit", 0.2), self.line("x", "weak", 0.19)) == {
            "k0",
            "at the limit",
        }

    def test_rules_missing_lines_and_anomalies_count(self) -> None:
        """A rule counts whatever its weight, and so do the first four anomalies that have a key."""
        rule = Evidence(kind="rule", weight=-3.0, rule="odd", label="L2")
        missing = Evidence(kind="missing", weight=1.0, key="m", text="session up")
        anomalies = tuple(
            Anomaly(kind="new", score=1, source="", number=1, key=key, text="x") for key in ("a", "", "b", "c", "d")
        )
        assert self.keys(rule, missing, anomalies=anomalies) == {"rule odd", "m", "new a", "new b", "new c"}

    @pytest.mark.parametrize(("common", "own", "expected"), [(3, 2, True), (1, 1, False), (5, 4, False), (0, 0, True)])
    def test_similar_from_60_percent_on(self, common: int, own: int, expected: bool) -> None:
        one = {str(number) for number in range(common)}
        assert similar(one | {f"own {number}" for number in range(own)}, one) == expected


@pytest.mark.parametrize(("answer", "taken"), [(200, True), (500, False), (403, False), (302, False), (0, False)])
def test_webhooks(receiver: tuple[type[Receiver], str], answer: int, taken: bool) -> None:
    """A target that rejects, redirects or does not respond has not accepted the message; a redirect is not followed."""
    handler, address = receiver
    handler.answer = answer
    ((target,),) = open_targets(AlertSettings(targets={"default": (address + "?rto=1&cto=1",)})).values()
    assert target.send(Message("title", "one\ntwo <b>three</b>")) == taken
    assert [(got["title"], got["message"]) for got in handler.got] == [("title", "one\ntwo <b>three</b>")]


def test_invalid_addresses_are_not_shown() -> None:
    with pytest.raises(SettingsError) as raised:
        open_targets(AlertSettings(targets={"default": ("nosuch://user:hunter2@host",)}))
    assert "'nosuch'" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(Settings(alerts=AlertSettings(targets={"default": ("json://hunter2@host",)})))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"quiet_hours": "10-11"}, "is not of the form"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"rules": ("silence",)}, "needs silence_minutes"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AlertSettings(**settings)


class TestCommands:
    """`run`, then one message at a real receiver, then its explanation."""

    @pytest.fixture
    def config(self, workplace: Path, receiver: tuple[type[Receiver], str]) -> Path:
        for number in (0, 1, 4):  # rejected for cause 7, all of them
            run = make_run("L3", number)
            folder = workplace / "runs" / f"r{number}"
            folder.mkdir(parents=True)
            for source, text in run.sources.items():
                (folder / f"{source}.log").write_bytes(text)
        path = workplace / "settings.toml"
        path.write_text(
            'sinks = ["store", "alerts"]\n[alerts]\nrules = ["failed"]\n[alerts.targets]\n'
            f'core = ["{receiver[1]}"]\n[[routes]]\nteam = "core"\nlabel = "L3"\n'
        )
        return path

    def test_one_message_for_three_runs(self, config: Path, receiver: tuple[type[Receiver], str]) -> None:
        assert call("run", "-c", config, "--run-by", "folder", "runs").code == 1
        (got,) = receiver[0].got
        assert got["title"].startswith("L3: 3 runs, first ")
        explained = call("alerts", "explain", "-c", config, "r4").out
        assert "team core: by the routes" in explained
        assert "3 similar runs; sent " in explained
        assert "team" in call("show", "-c", config, "r4").out
        assert call("alerts", "send", "-c", config).out == "0 messages sent\n"
        assert len(receiver[0].got) == 1

    def test_invalid_addresses_are_reported_first(self, config: Path) -> None:
        """By `check`, and by `run` before anything is judged."""
        result = call("check", "-c", config)
        assert (result.code, "ok     alerts: targets of core (1)" in result.out) == (0, True)
        good = config.read_text()
        config.write_text(good.replace('label = "L3"', 'label = "L3"\n[[routes]]\nteam = "lab"'))
        assert "wrong  alerts: no target for team 'lab' of the routes" in call("check", "-c", config).out
        config.write_text(good.replace("json://", "nosuch://"))
        assert "wrong  alerts: alerts.targets has an address of kind 'nosuch'" in call("check", "-c", config).out
        result = call("run", "-c", config, "--run-by", "folder", "runs")
        assert (result.code, result.out) == (2, "")

    def test_test(self, config: Path, receiver: tuple[type[Receiver], str]) -> None:
        result = call("alerts", "test", "-c", config)
        assert result.code == 0
        assert result.out.startswith("sent    core  json ")
        receiver[0].answer = 500
        assert call("alerts", "test", "-c", config).code == 2
        assert call("alerts", "test", "-c", config, "--team", "none").code == 2

    def test_explain_a_run_without_alerts(self, config: Path, workplace: Path) -> None:
        """A run that was judged while `alerts` was not among the sinks."""
        config.write_text(config.read_text().replace('"store", "alerts"', '"store"'))
        assert call("run", "-c", config, "--run-by", "folder", "runs/r1").code == 1
        assert "not in the outbox" in call("alerts", "explain", "-c", config, "r1").out
