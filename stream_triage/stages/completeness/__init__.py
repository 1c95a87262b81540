"""Lines of a source in; reasons to believe that its log ends early or starts late out.

A missing end is seen from what the log itself began: a command without its confirmation, a wait that has not ended, a
procedure without an answer, a table that was longer each time before, a last line without its end. A missing stop section
alone says nothing: many runs have none. A missing beginning is seen from what has no cause: a confirmation without its
command, an answer without its request, the middle of a table.

What must follow what is data, in `table.py`. `clues.py` reads one masked line, `follow.py` keeps what is open, `doubts.py`
puts it into words when the run is over.
"""

from stream_triage.stages.completeness.clues import Clues, read_clues
from stream_triage.stages.completeness.doubts import completeness_doubts
from stream_triage.stages.completeness.follow import CompletenessState, follow

__all__ = ["Clues", "CompletenessState", "completeness_doubts", "follow", "read_clues"]
