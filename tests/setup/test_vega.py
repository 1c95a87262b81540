"""Specifications of Vega panels without a server or a browser: what they ask, and that they fit into their panels."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from stream_triage.setup.dashboards import BOARDS, Panel
from stream_triage.setup.monitor_rules import RULES
from stream_triage.setup.vega_tables import HEAD_PIXELS, ROW_PIXELS

PANELS = {panel.name: panel for board in BOARDS for panel in board.panels if panel.vega}
CONTEXT = {f"%dashboard_context-{clause}_clause%" for clause in ("must", "filter", "must_not")}


def spec_of(panel: Panel) -> dict[str, Any]:
    assert panel.vega
    return panel.vega("farm")


def values(content: Any) -> Iterator[Any]:
    """All texts and numbers in a specification."""
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from values(each)
    else:
        yield content


@pytest.mark.parametrize("name", PANELS)
class TestSpecifications:
    def test_requests(self, name: str) -> None:
        """Each asks our indices only, loads nothing else, and follows the query and the filters of the board."""
        for data in spec_of(PANELS[name])["data"]:
            assert ("url" in data) != ("source" in data)
            if "url" in data:
                assert data["url"]["index"] in ("farm-verdicts-*", "farm-workers-*")
                assert set(values(data["url"]["body"]["query"])) >= CONTEXT

    def test_names(self, name: str) -> None:
        """Marks and expressions use data that the specification has; each is defined before it is used."""
        spec = spec_of(PANELS[name])
        known: set[str] = set()
        for data in spec["data"]:
            assert set(re.findall(r"data\('(\w+)'\)", json.dumps(data))) <= known | {data["name"]}
            assert data.get("source", "") in known | {""}
            known.add(data["name"])
        used = re.findall(r"data\('(\w+)'\)|\"from\": {\"data\": \"(\w+)\"}", json.dumps(spec["marks"]))
        assert {one or other for one, other in used} <= known

    def test_expressions_have_no_undefined_names(self, name: str) -> None:
        """Vega knows neither `undefined` nor regular expressions of JavaScript without `regexp`."""
        texts = [text for text in values(spec_of(PANELS[name])) if isinstance(text, str)]
        assert not [text for text in texts if "undefined" in text]
        assert all(text.count("(") == text.count(")") for text in texts if "datum" in text or "data(" in text)

    def test_a_panel_has_room_for_all_rows(self, name: str) -> None:
        """No row of a table is below the edge of its panel, whose title and margins take 60 pixels."""
        panel = PANELS[name]
        limits = [int(rows) for rows in re.findall(r"datum\.row <= (\d+)", json.dumps(spec_of(panel)))]
        start = 256 if name == "run-page" else 0
        for rows in limits:
            assert start + HEAD_PIXELS + rows * ROW_PIXELS <= panel.height * 28 - 8 - 32


def test_a_canary_shows_that_the_pipeline_is_alive() -> None:
    """On a quiet day the time since the last verdict is that of the canary, as in the monitor *verdicts stopped*."""
    (asked,) = [
        each["url"] for each in spec_of(PANELS["alive"])["data"] if "verdicts" in each.get("url", {}).get("index", "")
    ]
    assert "canary" not in json.dumps(asked["body"]["query"])
    assert "canary" in json.dumps(asked["body"]["aggs"]["now"])
    assert "canary" not in json.dumps(RULES["verdicts stopped"].query)
