"""The view of a run in; the same in short as Markdown, for a ticket or a chat, out.

Log text is hostile here too: it stands in a fence that it cannot close, and other text as inline code where it is not ours.
"""

from collections.abc import Iterator

from stream_triage.render.fences import fenced, inline_code
from stream_triage.render.printable import printable
from stream_triage.web.run_view.view import RunView

__all__ = ["markdown"]

_REASONS = 5
_UES = 10


def markdown(run: RunView) -> str:
    """A section with the verdict, the sentence, what is known of the run, and the deciding lines."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: RunView) -> Iterator[str]:
    yield f"### {_code(run.run_id)}: {_code(run.label)}" + (" (needs review)" if run.needs_review else "")
    yield ""
    if why := "".join(words.text for words in run.why):
        yield f"{'' if run.proved else 'Not proved: '}{_code(why)}"
        yield ""
    if run.outcome != "unknown":
        anomalous = " (anomalous)" if run.anomalous else ""
        yield f"- confidence {run.confidence:.2f}; anomaly score {run.anomaly_score:.2f}{anomalous}"
    yield from (f"- needs review: {_code(reason)}" for reason in run.review_reasons[:_REASONS])
    if run.harness:
        yield f"- the test harness says {_code(run.harness)}"
    if run.history and run.history.words:
        yield f"- {_code(run.history.case)}: {run.history.words}"
    if run.ues and run.ues.failed:
        yield f"- {_code(run.ues.words())}"
    yield from (f"- {_code(fact.name)}: {_code(fact.value)}" for fact in run.facts)
    rows = [f"{line.where}  {text}" if i == 0 else f"{' ' * len(line.where)}  {text}"
            for line in run.key_lines for i, text in enumerate(line.texts)]  # fmt: skip
    if rows:
        yield ""
        yield from fenced([printable(row) for row in rows])


def _code(text: str) -> str:
    return inline_code(printable(text))
