"""The sample runs, judged as if they came from a test farm, with a test case, a bed and a build each."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from stream_triage import Triage, Verdict
from stream_triage.pipeline import Session

__all__ = ["JUDGED", "SAMPLES", "judged"]

FOLDER: Final = Path(__file__).parents[3] / "samples" / "tm500"
SAMPLES: Final = ("rejected.log", "retransmissions.log", "tester-crash.log", "expected-reject.log")
JUDGED: Final = datetime(2026, 11, 30, 5, 12, tzinfo=UTC)
# All others are runs of the first sample's test case.
CASES: Final = {"retransmissions.log": "dl_throughput_1ue", "tester-crash.log": "soak_4h"}


def judged(triage: Triage, name: str, days_ago: int = 0) -> tuple[Verdict, Session]:
    """The verdict on a sample, and its session, which has the text."""
    case = CASES.get(name, "attach_8ue")
    headers = {"test.case.name": case, "testbed": "bed-07", "service.version": f"24.3.{17 - days_ago}"}
    session = triage.session(f"nightly/2026-11-{30 - days_ago}/{name}", headers)
    session.feed((FOLDER / name).read_bytes())
    return session.close().model_copy(update={"time": JUDGED - timedelta(days=days_ago)}), session
