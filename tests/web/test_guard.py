"""Who gets an answer, and what keeps an answer harmless: hosts, forged forms, the password, headers, errors."""

import re
import sqlite3
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from stream_triage.clock import FakeClock
from stream_triage.errors import SettingsError
from stream_triage.settings import UiSettings
from stream_triage.sinks.sqlite import MIGRATIONS
from stream_triage.web import list_routes
from stream_triage.web.app import create_app
from stream_triage.web.sessions import SESSION_SECONDS, TRIES, TRIES_SECONDS
from tests.web.browsing import ADDRESS, NOW, browsing, put, run_of, settings_of, shown_runs

PASSWORD = "correct horse"
PATHS = [
    "/runs",
    "/cases",
    "/beds",
    "/templates",
    "/run?id=a",
    "/run/verdict.json?id=a",
    "/static/app.css",
    "/zz",
    "/run?id=zz",
]


@pytest.fixture
def client(tmp_path):
    settings = settings_of(tmp_path)
    put(settings, run_of("a"))
    with browsing(settings) as client:
        yield client


@pytest.fixture
def clock():
    return FakeClock(NOW)


@pytest.fixture
def locked(tmp_path, clock):
    """A client of pages with a password, without a session."""
    settings = settings_of(tmp_path, password=PASSWORD)
    put(settings, run_of("a"))
    with browsing(settings, clock) as client:
        yield client


def signed_in(client: TestClient, password: str = PASSWORD, **fields: str):
    return client.post("/sign-in", data={"password": password, **fields}, headers={"origin": ADDRESS})


class TestHeaders:
    @pytest.mark.parametrize("path", PATHS)
    def test_every_answer_is_harmless(self, client, path):
        """No script, style, picture or request of another origin, none written in a page, and no frame around it."""
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"

    def test_pages_of_bugs_are_harmless_too(self, client, monkeypatch, caplog):
        """And say nothing of what the bug saw; nor does the log."""
        monkeypatch.setattr(list_routes, "run_row", lambda run: {}["secret of the log"])
        page = client.get("/runs")
        assert page.status_code == 500
        assert "internal error: KeyError" in page.text
        assert "secret" not in page.text + caplog.text
        assert "internal error: KeyError" in caplog.text
        assert "default-src 'none'" in page.headers["content-security-policy"]

    def test_pages_hold_neither_script_nor_style(self, client):
        """What the policy forbids is not there, so nothing of a page is lost."""
        for path in PATHS[:5]:
            page = client.get(path).text
            assert re.findall(r"<script(?! src=)|<style| style=| on\w+=", page) == []

    def test_pages_are_not_kept_and_files_are(self, client):
        """Logs are confidential; a file that changes gets another address."""
        page = client.get("/runs")
        assert page.headers["cache-control"] == "no-store"
        addresses = re.findall(r'(?:src|href)="(/static/[^"]*)"', page.text)
        assert len(addresses) >= 6
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]

    def test_nothing_else_is_served(self, client):
        for path in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/static//etc/passwd", "/static/"):
            assert client.get(path).status_code == 404


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1:8777", "localhost", "LOCALHOST:1", "[::1]:8777", "10.1.2.3:80", "triage.example", "triage.example:443"],
    )
    def test_own_names(self, tmp_path, host):
        with browsing(settings_of(tmp_path, hosts=["Triage.example"])) as client:
            assert client.get("/sign-in", headers={"host": host}, follow_redirects=False).status_code == 303

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8777", "localhost.evil.example", "", "127.0.0.1.evil.example", "[::1"]
    )
    def test_names_that_others_point_here(self, client, host):
        """A site that gives its own name our address reads nothing; the message names the setting."""
        page = client.get("/runs", headers={"host": host})
        assert page.status_code == 421
        assert shown_runs(page.text) == []
        assert "ui.hosts" in page.text


class TestForgedForms:
    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:9999"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": ADDRESS, "sec-fetch-site": "cross-site"},
        ],
    )
    @pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
    def test_are_not_used(self, locked, path, headers):
        """Neither to sign in with a password of somebody else's choice nor to sign a user out."""
        signed_in(locked)
        answer = locked.post(path, data={"password": PASSWORD}, headers=headers, follow_redirects=False)
        assert answer.status_code == 403
        assert "another site" in answer.text
        assert shown_runs(locked.get("/runs").text) == ["a"]

    @pytest.mark.parametrize("headers", [{}, {"origin": ADDRESS}, {"origin": ADDRESS, "sec-fetch-site": "same-origin"}])
    def test_own_forms_are(self, locked, headers):
        assert locked.post("/sign-in", data={"password": PASSWORD}, headers=headers).url.path == "/runs"

    @pytest.mark.parametrize(("method", "path"), [("POST", "/runs"), ("DELETE", "/run"), ("PUT", "/sign-in")])
    def test_nothing_else_can_be_sent(self, client, method, path):
        page = client.request(method, path)
        assert page.status_code == 405


class TestPassword:
    @pytest.mark.parametrize("path", ["/runs?label=L3", "/run?id=a", "/run/full.txt?id=a", "/zz"])
    def test_is_asked_for(self, locked, path):
        """First of all, and then the page that was wanted is shown."""
        page = locked.get(path)
        assert page.url.path == "/sign-in"
        assert shown_runs(page.text) == []
        (after,) = re.findall(r'name="next" value="([^"]*)"', page.text)
        answer = signed_in(locked, next=after.replace("&amp;", "&"))
        assert str(answer.url) == ADDRESS + path

    def test_opens_a_session(self, locked, clock):
        """Of twelve hours, with a cookie that no script and no other site can use."""
        answer = locked.post("/sign-in", data={"password": PASSWORD}, follow_redirects=False)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert shown_runs(locked.get("/runs").text) == ["a"]
        clock.advance(SESSION_SECONDS + 1)
        assert locked.get("/runs").url.path == "/sign-in"

    def test_cookie_is_for_https_alone_behind_https(self, tmp_path):
        settings = settings_of(tmp_path, password=PASSWORD)
        with TestClient(create_app(settings), base_url="https://127.0.0.1") as client:
            answer = client.post("/sign-in", data={"password": PASSWORD}, follow_redirects=False)
            assert "Secure" in answer.headers["set-cookie"]

    def test_wrong_ones_are_refused(self, locked):
        for password in ("", "wrong", PASSWORD + "x", PASSWORD.upper(), "\N{SNOWMAN}"):
            page = signed_in(locked, password)
            assert page.status_code == 403
            assert "This password is wrong" in page.text
        assert locked.get("/runs").url.path == "/sign-in"

    def test_cannot_be_guessed_fast(self, locked, clock):
        """After ten wrong ones within a minute none is looked at, not even the right one, until the minute is over."""
        for _ in range(TRIES):
            assert signed_in(locked, "wrong").status_code == 403
        assert signed_in(locked).status_code == 429
        clock.advance(TRIES_SECONDS + 1)
        assert signed_in(locked).url.path == "/runs"

    @pytest.mark.parametrize(
        "after", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\tx", ""]
    )
    def test_leads_to_no_other_site(self, locked, after):
        answer = locked.post("/sign-in", data={"password": PASSWORD, "next": after}, follow_redirects=False)
        assert answer.headers["location"] == "/runs"

    def test_large_forms_are_not_read(self, locked):
        """Whoever sends one has no session yet."""
        assert signed_in(locked, "x" * 10_000).status_code == 400

    def test_sign_out(self, locked):
        signed_in(locked)
        assert 'action="/sign-out"' in locked.get("/runs").text
        cookie = dict(locked.cookies)
        assert locked.post("/sign-out").url.path == "/sign-in"
        locked.cookies.update(cookie)
        assert locked.get("/runs").url.path == "/sign-in"

    def test_what_is_no_page_is_refused(self, locked):
        """A part of a page leads to the form; changes and foreign requests get nothing."""
        part = locked.get("/runs", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"], part.text) == (401, "/sign-in", "")
        assert locked.get("/events").status_code == 401
        assert locked.post("/runs").status_code == 401

    def test_is_needed_for_other_machines(self):
        """Neither an address of this machine nor all of them may be listened at without one."""
        for listen in ("0.0.0.0:80", ":80", "192.0.2.1:80", "[::]:80", "farm:80"):
            with pytest.raises(ValueError, match="set password, too"):
                UiSettings(listen=listen)
            UiSettings(listen=listen, password=PASSWORD)
        for listen in ("127.0.0.1:80", "localhost:80", "[::1]:80", "127.1.2.3:0"):
            assert UiSettings(listen=listen).loopback

    def test_is_not_asked_for_without_one(self, client):
        """The form is not there, nor is the button."""
        assert client.get("/sign-in").url.path == "/runs"
        assert "/sign-out" not in client.get("/runs").text


class TestStore:
    def test_missing(self, tmp_path):
        """The page says how to make one, and shows the runs as soon as there is one."""
        settings = settings_of(tmp_path)
        with browsing(settings) as client:
            page = client.get("/runs")
            assert page.status_code == 200
            assert f"there is no store at {settings.store.path} yet" in page.text
            assert "stream-triage run PATH" in page.text
            assert not settings.store.path.exists()
            put(settings, run_of("a"))
            assert shown_runs(client.get("/runs").text) == ["a"]

    def test_removed_and_made_anew(self, tmp_path):
        """The pages follow to the new file."""
        settings = settings_of(tmp_path)
        put(settings, run_of("old"))
        with browsing(settings) as client:
            assert shown_runs(client.get("/runs").text) == ["old"]
            for file in tmp_path.glob("v.sqlite*"):
                file.unlink()
            assert "No runs yet" in client.get("/runs").text
            put(settings, run_of("new"))
            assert shown_runs(client.get("/runs").text) == ["new"]

    def test_of_an_older_schema(self, tmp_path):
        """It is brought up to date."""
        settings = settings_of(tmp_path)
        with closing(sqlite3.connect(settings.store.path)) as connection:
            connection.executescript(";".join(MIGRATIONS[0]))
            run = run_of("a", "L3")
            connection.execute(
                "INSERT INTO runs VALUES (1, 'a', '2026-01-01T00:00:00.000000+00:00', 'L3', 0, 0.9, 0, 0, 0.1, 10, 'tiny', "
                "201, 1, ?)",
                (run.model_dump_json(),),
            )
            connection.executescript("PRAGMA application_id = 0x54524941; PRAGMA user_version = 1;")
        with browsing(settings) as client:
            assert shown_runs(client.get("/runs?label=L3").text) == ["a"]
            assert "UE 3 could not attach" in client.get("/run?id=a").text

    def test_of_a_newer_schema(self, tmp_path):
        """It stays as it is, and the page says what to do."""
        settings = settings_of(tmp_path)
        put(settings, run_of("a"))
        with closing(sqlite3.connect(settings.store.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with browsing(settings) as client:
            page = client.get("/runs")
            assert page.status_code == 500
            assert "was written by a newer release" in page.text
            assert "upgrade stream-triage" in page.text

    def test_no_database(self, tmp_path):
        settings = settings_of(tmp_path)
        settings.store.path.write_text("my notes")
        with browsing(settings) as client:
            page = client.get("/runs")
            assert page.status_code == 500
            assert "set store.path" in page.text
        assert settings.store.path.read_text() == "my notes"

    def test_locked_by_a_writer(self, tmp_path):
        """Reading does not wait for a worker that writes."""
        settings = settings_of(tmp_path)
        put(settings, run_of("a"))
        with closing(sqlite3.connect(settings.store.path, isolation_level=None)) as worker:
            worker.execute("BEGIN IMMEDIATE")
            with browsing(settings) as client:
                assert shown_runs(client.get("/runs").text) == ["a"]
                assert client.get("/run?id=a").status_code == 200

    def test_locked_altogether(self, tmp_path, monkeypatch):
        """An older store that must be brought up to date while a program holds it: the page says so, then goes on."""
        monkeypatch.setattr("stream_triage.web.stored.BUSY_SECONDS", 0.1)
        settings = settings_of(tmp_path)
        with closing(sqlite3.connect(settings.store.path, isolation_level=None)) as other, browsing(settings) as client:
            other.executescript(";".join(MIGRATIONS[0]))
            other.executescript("PRAGMA application_id = 0x54524941; PRAGMA user_version = 1; BEGIN EXCLUSIVE;")
            page = client.get("/runs")
            assert page.status_code == 503
            assert "another program holds the database" in page.text
            assert "retry-after" in page.headers
            other.execute("COMMIT")
            assert client.get("/runs").status_code == 200


def test_the_password_is_shown_nowhere(tmp_path):
    """Neither by settings nor by their errors."""
    settings = settings_of(tmp_path, password=PASSWORD)
    assert PASSWORD not in repr(settings) + settings.model_dump_json()
    from stream_triage.settings import load_settings

    with pytest.raises(SettingsError) as error:
        load_settings(ui={"password": "short"})
    assert "short" not in str(error.value).replace("short ", "")
