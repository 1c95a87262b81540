"""Bytes of the sources of a run in; their lines as the serving stages read them out: cut, without wrappers, redacted.

Serving takes a wrapper off if the bundle knows more lines without it. Training has no bundle yet: here the dialects say
which lines are known.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from stream_triage.dialects import Dialects
from stream_triage.settings import InputSettings
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.decode import Decoder
from stream_triage.stages.normalise import mask
from stream_triage.stages.redact import Redactor
from stream_triage.stages.wrappers import Judge, Unwrapper

__all__ = ["LineReader"]


class LineReader:
    """Reads the sources of runs.

    Args:
        redactor: Must be the one that serves, or the bundle learns words that serving never sees.
        line_bytes: Limit for a line in bytes, as in serving.
        dialects: Those whose lines are known; by default the shipped ones.
    """

    def __init__(
        self,
        redactor: Redactor | None = None,
        line_bytes: int = InputSettings().line_bytes,
        dialects: Dialects | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.line_bytes = line_bytes
        self._judge = _judge(dialects or _shipped())

    def lines(self, sources: Mapping[str, bytes]) -> dict[str, list[str]]:
        """Lines of each source. Those of services that a source contains are a source `SOURCE/SERVICE`, as in serving."""
        found: dict[str, list[str]] = {}
        for source, data in sources.items():
            decoder, cutter, unwrapper = Decoder(), LineCutter(self.line_bytes), Unwrapper(self._judge)
            cut = cutter.feed(decoder.feed(data) + decoder.finish()) + cutter.finish()
            states = {"": self.redactor.start()}
            found[source] = []
            for batch in unwrapper.take(cut, final=True):
                shown = "/".join(filter(None, (source, batch.service)))
                state = states.setdefault(batch.service, self.redactor.start())
                lines = self.redactor.lines("\n".join(batch.bodies), state).split("\n") if batch.bodies else []
                found.setdefault(shown, []).extend(batch.read(lines))
        return found


@cache
def _shipped() -> Dialects:
    return Dialects()


def _judge(dialects: Dialects) -> Judge:
    def known(lines: Sequence[str]) -> list[bool]:
        masked = mask("\n".join(lines)).split("\n") if lines else []
        return [(signal := dialects.read(line)) is not None and signal.dialect >= 0 for line in masked]

    return Judge(known, tabbed=True)
