"""Verdicts become defect types of the failed items of a ReportPortal launch. Python 3.11, nothing else.

    stream-triage run --jsonl nightly/ | python connectors/reportportal.py --url https://rp.example --project lab --launch 17

The token comes from the variable RP_TOKEN. Items are found by name: that of the verdict's header test.case.name. A
verdict of a failed run gives `pb001` (product bug), `si001` (system issue) where the cause is the environment, `ab001`
(automation bug) where it is the script; `--type L3=pb_1k2m3` names the sub-type of a label. Verdicts to review, and
passes, leave an item as it is.
API: GET and PUT /api/v1/{project}/item (search and "define test item issue type"), as ReportPortal 5 publishes it.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# So many issues in one request, which is what the API allows.
MOST_ISSUES = 300
BY_CAUSE = {"environment": "si001", "script": "ab001"}
EVIDENCE_SHOWN = 5


def issues(
    verdicts: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]], types: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """An issue definition for each failed item that has a verdict; the last verdict of a name counts."""
    by_name = {verdict["headers"].get("test.case.name"): verdict for verdict in verdicts if verdict["final"]}
    for item in items:
        verdict = by_name.get(item["name"])
        if verdict is None or verdict["passed"] or verdict["needs_review"]:
            continue
        kind = BY_CAUSE.get(verdict.get("cause") or "") or types.get(verdict["label"], "pb001")
        issue = {"issueType": kind, "comment": comment(verdict), "autoAnalyzed": True, "ignoreAnalyzer": False}
        yield {"testItemId": item["id"], "issue": issue}


def comment(verdict: Mapping[str, Any]) -> str:
    lines = [f"stream-triage: {verdict['label']}, confidence {verdict['confidence']:.2f}, run {verdict['run_id']}"]
    lines += [words(item) for item in verdict["evidence"][:EVIDENCE_SHOWN]]
    # The comment is shown as Markdown: as code, log text is only text.
    return "\n".join("    " + "".join(char if char.isprintable() else "\ufffd" for char in line) for line in lines)


def words(item: Mapping[str, Any]) -> str:
    """Evidence as `stream-triage show` has it."""
    if item["kind"] == "missing":
        return f"never came: {item['text']}"
    place = ":".join(part for part in (item["source"], str(item["number"] or "")) if part)
    rule = f"rule {item['rule']} for {item['label']}: " if item["rule"] else ""
    note = f" ({item['note']})" if item["note"] else ""
    return f"{place}  {rule}{item['text']}{note}".strip()


class Portal:
    def __init__(self, url: str, project: str, token: str) -> None:
        self._items = f"{url.rstrip('/')}/api/v1/{urllib.parse.quote(project, safe='')}/item"
        self._token = token

    def failed_items(self, launch: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            query = {"filter.eq.launchId": launch, "filter.in.status": "FAILED", "page.page": page, "page.size": MOST_ISSUES}
            told = self._ask("GET", f"?{urllib.parse.urlencode(query)}")
            found += told["content"]
            if page >= told["page"]["totalPages"]:
                return found
            page += 1

    def define(self, some: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(some), MOST_ISSUES):
            self._ask("PUT", "", {"issues": some[start : start + MOST_ISSUES]})

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._items + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--launch", type=int, required=True)
    parser.add_argument("--type", action="append", default=[], metavar="LABEL=LOCATOR", help="defect type of a label")
    parser.add_argument("--dry-run", action="store_true")
    told = parser.parse_args(arguments)
    token = os.environ.get("RP_TOKEN", "")
    types = dict(each.split("=", 1) for each in told.type if "=" in each)
    if not token or len(types) < len(told.type):
        print("error: RP_TOKEN must hold an API key, and --type must be LABEL=LOCATOR", file=sys.stderr)
        return 2
    portal = Portal(told.url, told.project, token)
    try:
        verdicts = [json.loads(line) for line in sys.stdin if line.strip()]
        found = list(issues(verdicts, portal.failed_items(told.launch), types))
        if not told.dry_run:
            portal.define(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "check --url, --project, RP_TOKEN, and that verdicts come in"
        print(f"error: {type(error).__name__}: {error}; {remedy}", file=sys.stderr)
        return 2
    print(f"{len(found)} items {'would get' if told.dry_run else 'got'} a defect type")
    return 0


if __name__ == "__main__":
    sys.exit(main())
