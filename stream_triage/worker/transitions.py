"""The state table of runs: what text, an end or a limit does to the run of a key. `runs.py` looks each event up here.

A key has at most one open run. Its state and an event give an action, and the action the next state: `BEGIN` leads to
`EARLY`, `END` to `ENDED` and `CUT` to `CUT`; the others leave it as it is. `EARLY` becomes `OPEN` when text of the run is
passed on, which is at once unless its first message came before its turn. `CLOSING` lasts while an ending run passes on the
messages that it held.

`NONE` stands where an event cannot occur or changes nothing. tests/worker/test_transitions.py has a case for each cell.
"""

from enum import Enum, IntEnum
from typing import Final

__all__ = ["TABLE", "Action", "Event", "State"]


class State(IntEnum):
    """Where a key stands; the number is the column of the table."""

    UNUSED = 0
    """No run had this key."""
    EARLY = 1
    """A run is open and nothing of it was passed on: its messages so far came before their turn and are held."""
    OPEN = 2
    """A run is open, and text of it was passed on."""
    CLOSING = 3
    """The end of the open run is decided; what it held is being passed on."""
    ENDED = 4
    """Its last run is over."""
    CUT = 5
    """Its last run was cut at a limit; what comes now continues it, under another id."""


class Event(IntEnum):
    """What can happen to a run."""

    TEXT = 0
    """Text that starts no run, or an end without text."""
    START_LINE = 1
    """Text whose first line starts a run."""
    END_LINE = 2
    """Text whose last line ends a run was passed on."""
    SOURCES_ENDED = 3
    """The last of its sources has ended, and no other is waited for."""
    BYTE_LIMIT = 4
    """It has as many bytes as a run may have."""
    SILENCE = 5
    """Nothing came for the idle time, and nothing waits in the topic."""
    TIME_LIMIT = 6
    """It is open for as long as a run may be."""
    RECORDED_END = 7
    """It is read again, and all that belonged to it the first time has come."""
    RECORDED_CUT = 8
    """The same for a run that was cut at a limit."""
    GRACE_OVER = 9
    """All sources that were seen have ended, and no other one came for the grace time."""


class Action(Enum):
    """What a run does about an event."""

    BEGIN = "a run begins with this text"
    ADD = "the text belongs to the open run"
    END = "the open run ends; a line that starts a run is looked up again then"
    CUT = "the open run ends at a limit"
    REJECT = "the text comes too late and becomes a dead letter; an end without text is ignored"
    NONE = "nothing"


_BEGIN, _ADD, _END, _CUT, _REJECT, _NONE = Action

TABLE: Final[dict[Event, tuple[Action, ...]]] = {
    #                     UNUSED  EARLY  OPEN   CLOSING  ENDED    CUT
    Event.TEXT:          (_BEGIN, _ADD,  _ADD,  _ADD,    _REJECT, _BEGIN),
    Event.START_LINE:    (_BEGIN, _ADD,  _END,  _END,    _BEGIN,  _BEGIN),
    Event.END_LINE:      (_NONE,  _NONE, _END,  _END,    _NONE,   _NONE),
    Event.SOURCES_ENDED: (_NONE,  _END,  _END,  _END,    _NONE,   _NONE),
    # While a run closes it is not cut as well: it would end twice, and the next run would count as its continuation.
    Event.BYTE_LIMIT:    (_NONE,  _NONE, _CUT,  _NONE,   _NONE,   _NONE),
    Event.SILENCE:       (_NONE,  _END,  _END,  _NONE,   _NONE,   _NONE),
    Event.TIME_LIMIT:    (_NONE,  _CUT,  _CUT,  _NONE,   _NONE,   _NONE),
    Event.RECORDED_END:  (_NONE,  _END,  _END,  _NONE,   _NONE,   _NONE),
    Event.RECORDED_CUT:  (_NONE,  _CUT,  _CUT,  _NONE,   _NONE,   _NONE),
    Event.GRACE_OVER:    (_NONE,  _NONE, _END,  _NONE,   _NONE,   _NONE),
}  # fmt: skip
