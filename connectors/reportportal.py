"""Sets the defect types of the failed items of a ReportPortal launch from verdicts. Needs Python 3.11 and nothing else.

    stream-triage run --jsonl nightly/ | python connectors/reportportal.py --url https://rp.example --project lab --launch 17

Verdicts (JSON lines) come from standard input, the API key from the variable RP_TOKEN. An item gets the verdict whose
header test.case.name is the name of the item. Failed runs become `pb001` (product bug), or `si001` (system issue) if the
cause is the environment, or `ab001` (automation bug) if it is the test script; `--type L3=pb_1k2m3` sets another defect
type for a label. Items whose verdict is a pass or needs review are not changed.

API: GET and PUT /api/v1/{project}/item (search and "define test item issue type") of ReportPortal 5.
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

# The API accepts no more issues in one request. Also used as page size.
ISSUES_PER_REQUEST = 300
TYPE_OF_CAUSE = {"environment": "si001", "script": "ab001"}
MAX_EVIDENCE = 5
TIMEOUT_SECONDS = 30


def issues(
    verdicts: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]], types: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yields an issue definition for each item with a verdict that fails and needs no review.

    Args:
        verdicts: Verdicts as JSON. Provisional ones are ignored; of several with the same test case, the last one counts.
        items: Failed items as the API returns them.
        types: Defect types by label. A cause wins over them, and labels without one become product bugs.
    """
    by_name = {verdict["headers"].get("test.case.name"): verdict for verdict in verdicts if verdict["final"]}
    for item in items:
        verdict = by_name.get(item["name"])
        if verdict is None or verdict["passed"] or verdict["needs_review"]:
            continue
        issue_type = TYPE_OF_CAUSE.get(verdict.get("cause") or "") or types.get(verdict["label"], "pb001")
        issue = {"issueType": issue_type, "comment": comment(verdict), "autoAnalyzed": True, "ignoreAnalyzer": False}
        yield {"testItemId": item["id"], "issue": issue}


def comment(verdict: Mapping[str, Any]) -> str:
    """The comment of an issue: label, confidence, run, the sentence that says why, and the first evidence.

    ReportPortal renders comments as Markdown. Log text could contain links or markup, so each line is a line of code.
    """
    lines = [f"stream-triage: {verdict['label']}, confidence {verdict['confidence']:.2f}, run {verdict['run_id']}"]
    lines += [verdict["why"]] if verdict.get("why") else []  # verdicts of earlier versions have none
    lines += [evidence_text(evidence) for evidence in verdict["evidence"][:MAX_EVIDENCE]]
    return "\n".join("    " + "".join(char if char.isprintable() else "\ufffd" for char in line) for line in lines)


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Evidence on one line, in the words of `stream-triage show`. Copied, so that the script runs without the product."""
    if evidence["kind"] == "missing":
        return f"never came: {evidence['text']}"
    location = ":".join(part for part in (evidence["source"], str(evidence["number"] or "")) if part)
    rule = f"rule {evidence['rule']} for {evidence['label']}: " if evidence["rule"] else ""
    note = f" ({evidence['note']})" if evidence["note"] else ""
    return f"{location}  {rule}{evidence['text']}{note}".strip()


class Portal:
    """The part of ReportPortal's API that is needed here. Methods raise `OSError` if a request fails.

    Args:
        url: Address of ReportPortal.
        project: Name of the project.
        token: API key.
    """

    def __init__(self, url: str, project: str, token: str) -> None:
        self._items_url = f"{url.rstrip('/')}/api/v1/{urllib.parse.quote(project, safe='')}/item"
        self._token = token

    def failed_items(self, launch: int) -> list[dict[str, Any]]:
        """All failed items of a launch, over as many pages as there are."""
        items: list[dict[str, Any]] = []
        page = 1
        while True:
            query = {
                "filter.eq.launchId": launch,
                "filter.in.status": "FAILED",
                "page.page": page,
                "page.size": ISSUES_PER_REQUEST,
            }
            response = self._request("GET", f"?{urllib.parse.urlencode(query)}")
            items += response["content"]
            if page >= response["page"]["totalPages"]:
                return items
            page += 1

    def define_issues(self, definitions: Sequence[dict[str, Any]]) -> None:
        """Sets the defect types of items, in as many requests as needed; earlier ones stay if a later one fails."""
        for start in range(0, len(definitions), ISSUES_PER_REQUEST):
            self._request("PUT", "", {"issues": definitions[start : start + ISSUES_PER_REQUEST]})

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._items_url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads verdicts from standard input and sets defect types; returns 0, or 2 after an error."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
        epilog="Verdicts are read from standard input as JSON lines, the API key from the variable RP_TOKEN.",
    )
    parser.add_argument("--url", required=True, help="address of ReportPortal (required)")
    parser.add_argument("--project", required=True, help="name of the project (required)")
    parser.add_argument("--launch", type=int, required=True, metavar="ID", help="numeric id of the launch (required)")
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="LABEL=LOCATOR",
        help="locator of the defect type for a label; can be repeated (default: pb001, product bug, for all labels)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print how many items would change (default: off)")
    options = parser.parse_args(arguments)
    token = os.environ.get("RP_TOKEN", "")
    types = dict(pair.split("=", 1) for pair in options.type if "=" in pair)
    if not token or len(types) < len(options.type):
        print("error: RP_TOKEN must contain an API key, and each --type must have the form LABEL=LOCATOR", file=sys.stderr)
        return 2
    portal = Portal(options.url, options.project, token)
    try:
        verdicts = [json.loads(line) for line in sys.stdin if line.strip()]
        definitions = list(issues(verdicts, portal.failed_items(options.launch), types))
        if not options.dry_run:
            portal.define_issues(definitions)
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "check --url, --project and RP_TOKEN, and that standard input contains verdicts"
        print(f"error: {type(error).__name__}: {error}; {remedy}", file=sys.stderr)
        return 2
    print(f"{len(definitions)} items {'would get' if options.dry_run else 'got'} a defect type")
    return 0


if __name__ == "__main__":
    sys.exit(main())
