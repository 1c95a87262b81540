"""Alerts: which rules speak, what is alike, what leaves the outbox when, and what a receiver gets."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage.alerting.notify import Notifier, open_targets
from stream_triage.alerting.outbox import Outbox
from stream_triage.alerting.rules import History, Message, Outcomes, alerts_of, keys_of, message, team_of
from stream_triage.clock import FakeClock
from stream_triage.errors import SettingsError
from stream_triage.records import Anomaly, Evidence, Verdict
from stream_triage.settings import AlertSettings, Route, Settings
from tests.commands import call
from tests.receiver import Receiver
from tests.verdicts import make_verdict

ALL = ("failed", "anomalous", "disagreement", "new_template", "failure_rate", "silence")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def failing(run_id: str = "a", text: str = "UE Id: 3 registration reject, cause #12", **more: Any) -> Verdict:
    evidence = (Evidence(kind="line", weight=2.0, source="tm500", number=7, text=text),)
    told = {"label": "L3", "passed": False, "confidence": 0.97, "evidence": evidence, "time": NOON, "team": "core"}
    return make_verdict(run_id, **{**told, **more})


class FakeTarget:
    def __init__(self, name: str = "t", *, takes: bool = True) -> None:
        self.name, self.takes, self.got = name, takes, list[Message]()
        self.asked = 0

    def send(self, told: Message) -> bool:
        self.asked += 1
        if self.takes:
            self.got.append(told)
        return self.takes


class Post:
    """Outbox, clock, target and notifier of one test."""

    def __init__(self, folder: Path, target: FakeTarget | None = None, **settings: Any) -> None:
        self.clock, self.target, self.troubles = FakeClock(NOON), target or FakeTarget(), list[str]()
        self.settings = AlertSettings(path=folder / "alerts.sqlite", **settings)
        self.outbox = Outbox(self.settings, clock=self.clock, on_trouble=self.troubles.append)
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


def spoken(verdict: Verdict, history: History = History()) -> list[str]:  # noqa: B008 - a constant
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
    def test_of_the_verdict_alone(self, verdict: Verdict, rules: list[str]) -> None:
        assert spoken(verdict) == rules

    @pytest.mark.parametrize(
        ("recent", "earlier", "speaks"),
        [((10, 6), (100, 5), True), ((10, 2), (100, 5), False), ((10, 10), (19, 0), False), ((9, 9), (100, 0), False)],
    )
    def test_failure_rate(self, recent: tuple[int, int], earlier: tuple[int, int], speaks: bool) -> None:
        """Far above the usual, and only where enough is known of it."""
        found = spoken(failing(), History(recent=Outcomes(*recent), earlier=Outcomes(*earlier)))
        assert ("failure_rate" in found) == speaks

    def test_canary_runs_are_silent(self) -> None:
        assert spoken(failing(headers={"test.case.name": "canary"})) == []

    def test_new_template(self) -> None:
        assert spoken(make_verdict(), History(frozenset(("k",)))) == ["new_template"]

    def test_history_is_that_of_the_test_case(self, post: Post) -> None:
        """Runs that are given again count once; what is new, is new once."""
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
    def test_first_that_fits(self, verdict: Verdict, team: str | None) -> None:
        assert team_of(self.ROUTES, verdict) == team

    def test_none_fits(self) -> None:
        assert team_of(self.ROUTES[:2], failing()) is None


class TestOutbox:
    def test_a_hundred_alike_runs_make_one_message(self, post: Post) -> None:
        """Other numbers, UEs and times are no difference; the count is that of the moment it leaves."""
        post.give(*(failing(f"r{n}", f"UE Id: {n} registration reject, cause #12") for n in range(60)))
        assert post.after(29) == 0
        post.give(*(failing(f"s{n}", f"UE Id: {n} registration reject, cause #12") for n in range(40)))
        assert post.after(2) == 1
        assert post.after(3600) == 0
        (told,) = post.target.got
        assert told.title == "L3: 100 runs, first r0"
        assert "rule failed: label L3 at confidence 0.97" in told.body

    def test_what_follows_is_told_later(self, post: Post) -> None:
        """After `repeat_hours`, and only if more runs failed so."""
        post.give(failing("a"))
        assert post.after(31) == 1
        post.give(failing("b"))
        assert post.after(3 * 3600) == 0
        assert post.after(3600) == 1
        assert post.after(24 * 3600) == 0
        assert [told.title for told in post.target.got] == ["L3: a", "L3: 2 runs, first a"]

    def test_other_failures_have_messages_of_their_own(self, post: Post) -> None:
        post.give(failing("a"), failing("b", "RLC maximum reached"), failing("c", label="L2"), failing("d", team="other"))
        assert post.after(31) == 4

    def test_a_verdict_given_again_is_not_told_again(self, post: Post) -> None:
        post.give(failing("a"))
        assert post.after(31) == 1
        post.give(failing("a"), failing("a", version=401))
        assert post.after(24 * 3600) == 0
        assert post.outbox.explain("a")[0].runs == 1

    def test_provisional_verdicts_and_passes_make_none(self, post: Post) -> None:
        post.give(failing("a", final=False), make_verdict("b"))
        assert post.after(31) == 0

    def test_it_outlives_a_restart(self, post: Post, tmp_path: Path) -> None:
        post.give(failing("a"))
        post.outbox.close()
        again = Post(tmp_path)
        assert again.after(31) == 1
        again.outbox.close()

    def test_a_file_that_cannot_be_written_holds_nothing_up(self, post: Post) -> None:
        """It is told, kept, and written once that is possible."""
        other = sqlite3.connect(post.settings.path, isolation_level=None)
        post.outbox._db.execute("PRAGMA busy_timeout = 10")
        other.execute("BEGIN EXCLUSIVE")
        post.give(failing("a"), failing("b"))
        post.outbox.flush()
        assert len(post.troubles) == 1
        assert "cannot be written" in post.troubles[0]
        other.execute("COMMIT")
        other.close()
        post.outbox.flush()
        assert post.after(31) == 1

    def test_forgotten_runs_are_not_told(self, post: Post) -> None:
        post.give(failing("a", "a word of its own"))
        assert post.outbox.forget("a")
        files = list(post.settings.path.parent.glob("alerts.sqlite*"))
        assert not any(b"a word of its own" in file.read_bytes() for file in files)
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert not post.outbox.forget("a")
        assert post.after(31) == 0


class TestNotifier:
    def test_a_target_that_refuses_is_asked_again_and_the_others_are_not(self, tmp_path: Path) -> None:
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
        """Each found the same group due; one sends it. One that dies while it sends is stood in for, minutes later."""
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
        assert ([told.title for told in core.got], [told.title for told in post.target.got]) == (["L3: a"], ["L3: b"])

    def test_link(self, tmp_path: Path) -> None:
        """To the run, whatever its id holds."""
        post = Post(tmp_path, link="https://triage/{run_id}", gather_seconds=0)
        post.give(failing("runs/a.log#0123 x"))
        assert post.notifier.send_due() == 1
        assert post.target.got[0].body.endswith("\nhttps://triage/runs%2Fa.log%230123%20x")
        post.outbox.close()

    def test_no_target_is_told_once(self, post: Post) -> None:
        post.targets.clear()
        post.give(failing("a"))
        assert (post.after(31), post.after(31)) == (0, 0)
        assert post.troubles == ["no target for alerts of team core; name one in alerts.targets, or a default"]

    @pytest.mark.parametrize(("hours", "zone", "quiet"), [
        ("22:00-06:00", "UTC", False), ("11:00-13:00", "UTC", True), ("13:00-12:01", "UTC", True),
        ("12:30-14:00", "Europe/Berlin", True), ("11:00-12:30", "Europe/Berlin", False),
    ])  # fmt: skip
    def test_quiet_hours(self, tmp_path: Path, hours: str, zone: str, quiet: bool) -> None:
        """By the clock of the zone, over midnight too; what waits leaves afterwards."""
        post = Post(tmp_path, quiet_hours=hours, timezone=zone, gather_seconds=0)
        post.give(failing("a"))
        assert (post.notifier.quiet(), post.notifier.send_due()) == (quiet, int(not quiet))
        assert post.after(24 * 3600 - 1) == 0 or not quiet
        assert sum(post.after(3600) for _ in range(24)) == int(quiet)
        post.outbox.close()

    def test_a_team_gets_so_many_in_an_hour(self, tmp_path: Path) -> None:
        post = Post(tmp_path, per_hour=2, gather_seconds=0)
        words = ("alpha", "beta", "gamma", "delta", "epsilon")
        post.give(*(failing(word, f"{word} went wrong") for word in words))
        assert [post.notifier.send_due(), post.after(60), post.after(3600), post.after(3601)] == [2, 0, 2, 1]
        post.outbox.close()

    def test_silence(self, tmp_path: Path) -> None:
        """Told once, after the time that is set; again when it came back and is silent anew."""
        post = Post(tmp_path, rules=("silence",), silence_minutes=30, gather_seconds=0)
        assert post.after(3600) == 0  # nobody ever spoke
        post.give(make_verdict("a", time=post.clock.now()))
        assert [post.after(minutes * 60) for minutes in (29, 2, 60)] == [0, 1, 0]
        post.give(make_verdict("b", time=post.clock.now()))
        assert [post.after(60), post.after(5 * 3600)] == [0, 1]
        assert "no verdict for more than 30 minutes, the last one was a" in post.target.got[0].body
        post.outbox.close()


HOSTILE = "\x1b[31m<script>alert(1)</script> @channel <!here> \u202egnp.exe\x00 |" + "A" * 5000


def test_hostile_text_is_only_text() -> None:
    """In every field that a message shows."""
    headers = {"test.case.name": HOSTILE, "testbed": HOSTILE, "service.version": HOSTILE}
    told = message(failing(HOSTILE, HOSTILE, label="L3", headers=headers), "failed", HOSTILE, 3, "https://x/" + HOSTILE)
    for text in (told.title, *told.body.split("\n")):
        assert text.isprintable() or "\u2060" in text
        assert not set(text) & set("\x1b\x00\u202e\r\n\t")
        assert "<s" not in text
        assert "<!" not in text
        assert "@c" not in text
        assert len(text) < 600


def test_numbers_and_times_are_no_part_of_the_signature() -> None:
    one = failing("a", "31/08/25 15:33:49:609 I: REJECT:UE Id:2")
    other = failing("b", "01/09/25 01:00:00:001 I: REJECT:UE Id:17")
    assert keys_of(one) == keys_of(other) != keys_of(failing("c", "I: ACCEPT"))


@pytest.mark.parametrize(("answer", "taken"), [(200, True), (500, False), (403, False), (302, False), (0, False)])
def test_webhooks(receiver: tuple[type[Receiver], str], answer: int, taken: bool) -> None:
    """One that refuses, redirects or hangs has not taken the message; a redirect is not followed."""
    handler, address = receiver
    handler.answer = answer
    ((target,),) = open_targets(AlertSettings(targets={"default": (address + "?rto=1&cto=1",)})).values()
    assert target.send(Message("title", "one\ntwo <b>three</b>")) == taken
    assert [(got["title"], got["message"]) for got in handler.got] == [("title", "one\ntwo <b>three</b>")]


def test_addresses_that_cannot_be_used_are_not_shown() -> None:
    with pytest.raises(SettingsError) as told:
        open_targets(AlertSettings(targets={"default": ("nosuch://user:hunter2@host",)}))
    assert "'nosuch'" in str(told.value)
    assert "hunter2" not in str(told.value)
    assert "hunter2" not in repr(Settings(alerts=AlertSettings(targets={"default": ("json://hunter2@host",)})))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"quiet_hours": "10-11"}, "is not of the form"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"rules": ("silence",)}, "needs silence_minutes"),
    ],
)
def test_settings_that_say_nothing(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AlertSettings(**settings)


class TestCommands:
    """`run`, then one message at a real receiver, then why."""

    @pytest.fixture
    def config(self, workplace: Path, receiver: tuple[type[Receiver], str]) -> Path:
        from tests.corpus import make_run

        for number in (0, 1, 4):  # rejected for cause 7, all of them
            run = make_run("L3", number)
            place = workplace / "runs" / f"r{number}"
            place.mkdir(parents=True)
            for source, text in run.sources.items():
                (place / f"{source}.log").write_bytes(text)
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
        told = call("alerts", "explain", "-c", config, "r4").out
        assert "team core: by the routes" in told
        assert "3 runs alike; sent " in told
        assert "team" in call("show", "-c", config, "r4").out
        assert call("alerts", "send", "-c", config).out == "0 messages sent\n"
        assert len(receiver[0].got) == 1

    def test_wrong_addresses_are_told_first(self, config: Path) -> None:
        """By `check`, and by `run` before anything is judged."""
        told = call("check", "-c", config)
        assert (told.code, "ok     alerts: targets of core (1)" in told.out) == (0, True)
        good = config.read_text()
        config.write_text(good.replace('label = "L3"', 'label = "L3"\n[[routes]]\nteam = "lab"'))
        assert "wrong  alerts: no target for team 'lab' of the routes" in call("check", "-c", config).out
        config.write_text(good.replace("json://", "nosuch://"))
        assert "wrong  alerts: alerts.targets has an address of kind 'nosuch'" in call("check", "-c", config).out
        told = call("run", "-c", config, "--run-by", "folder", "runs")
        assert (told.code, told.out) == (2, "")

    def test_test(self, config: Path, receiver: tuple[type[Receiver], str]) -> None:
        told = call("alerts", "test", "-c", config)
        assert told.code == 0
        assert told.out.startswith("sent    core  json ")
        receiver[0].answer = 500
        assert call("alerts", "test", "-c", config).code == 2
        assert call("alerts", "test", "-c", config, "--team", "none").code == 2

    def test_explain_without_an_outbox(self, config: Path, workplace: Path) -> None:
        """A run that was judged while `alerts` was not among the sinks."""
        config.write_text(config.read_text().replace('"store", "alerts"', '"store"'))
        assert call("run", "-c", config, "--run-by", "folder", "runs/r1").code == 1
        assert "not in the outbox" in call("alerts", "explain", "-c", config, "r1").out
