"""The Jinja environment: whatever a template prints is harmless, and a missing package is named."""

import sys
from datetime import UTC, datetime, timedelta, timezone

import jinja2
import pytest

from stream_triage.errors import SettingsError
from stream_triage.records import UNKNOWN
from stream_triage.web.pages import STATIC, TEMPLATES, environment, label_class

HOSTILE = "<b>&\x1b[31m\u202e\x00\n\"'"


def made(template: str, **values: object) -> str:
    return environment().from_string(template).render(**values)


@pytest.mark.parametrize(
    "template", ["{{ text }}", '<a title="{{ text }}">', "{% set x = text %}{{ x ~ '' }}", "{{ [text][0] }}"]
)
def test_what_is_printed_is_harmless(template):
    """Markup is escaped, and every control character is shown as a code, wherever a template prints text."""
    assert r"&lt;b&gt;&amp;\x1b[31m\u202e\x00\x0a&#34;&#39;" in made(template, text=HOSTILE)


def test_lines_are_kept_where_asked_for():
    """Only line ends and tabs stay as they are."""
    assert made("{{ text|lines_kept }}", text="a\t<\nb\r\x07") == "a\t&lt;\nb\\x0d\\x07"


def test_unknown_names_are_errors():
    with pytest.raises(jinja2.UndefinedError):
        made("{{ missing }}")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ 300000|thousands }}", "300,000"),
        ("{{ 1|count('line') }}, {{ 2000|count('line') }}", "1 line, 2,000 lines"),
        ("{{ 0|percent }}, {{ 0.001|percent }}, {{ 0.5|percent }}", "0 %, <1 %, 50 %"),
        ("{{ 0.999|percent }}, {{ 1|percent }}", ">99 %, 100 %"),
    ],
)
def test_numbers(template, text):
    """As people write them; what is neither none nor all is never shown so."""
    assert made(template).replace("&lt;", "<").replace("&gt;", ">") == text


def test_times_are_utc():
    time = datetime(2026, 11, 30, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert made("{{ time|when }}", time=time) == "2026-11-29 23:30 UTC"
    assert made("{{ time|when }}|", time=None) == "|"
    assert made("{{ time|when }}", time=time.astimezone(UTC)) == "2026-11-29 23:30 UTC"


def test_labels_have_a_colour_each():
    """Those of the packaged bundles do not share one; any other label has one of those that are shared."""
    own = [label_class(label) for label in ("Pass", "L0_L1", "L2", "L3", "core_other", UNKNOWN)]
    assert len(set(own)) == len(own)
    styles = (STATIC / "tokens.css").read_text()
    for name in [*own, label_class("<script>"), label_class("flaky\udcff")]:
        assert f".{name} {{" in styles


def test_nothing_needs_an_unsafe_policy():
    """No template has an inline style or script, or an attribute that runs one: the policy would forbid it."""
    templates = sorted(TEMPLATES.rglob("*.html"))
    assert templates
    for template in templates:
        text = template.read_text()
        assert " style=" not in text, template
        assert "javascript:" not in text, template
        assert not [word for word in ("onclick", "onload", "onerror", "onchange", "onsubmit") if word in text], template


def test_missing_extra_is_named(monkeypatch):
    environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SettingsError, match=r"pip install 'stream-triage\[ui\]'"):
        environment()
    environment.cache_clear()
