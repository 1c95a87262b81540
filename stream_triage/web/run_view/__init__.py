"""What one run looks like, before it is HTML: pure functions that make views of a verdict for `templates/run`.

`run_view` is for the page of a run and for a report; `gap_rows` is for lines that are opened from the archive; `ue_rows` is
for the timeline of UEs; `history_view` and `state_of` say what the runs of a test case say together.
"""

from stream_triage.web.run_view.facts import title_of
from stream_triage.web.run_view.history import HistoryView, PastRun, history_view, state_of
from stream_triage.web.run_view.lines import GAP_LINES, GapView, LineView, gap_rows
from stream_triage.web.run_view.links import RunLinks
from stream_triage.web.run_view.markdown import markdown
from stream_triage.web.run_view.timeline import UES_SHOWN, UeRow, ue_rows
from stream_triage.web.run_view.view import RunView, run_view

__all__ = [
    "GAP_LINES",
    "UES_SHOWN",
    "GapView",
    "HistoryView",
    "LineView",
    "PastRun",
    "RunLinks",
    "RunView",
    "UeRow",
    "gap_rows",
    "history_view",
    "markdown",
    "run_view",
    "state_of",
    "title_of",
    "ue_rows",
]
