"""Lines with terminal escape sequences in, the same lines without them out.

Colours, cursor movement, titles and links (ECMA-48: CSI, OSC, DCS and two-character sequences) are never text of a log.
"""

import re
from typing import Final

__all__ = ["ESCAPE", "LOST_ESCAPE", "without_escapes"]

ESCAPE: Final = (
    r"(?:\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]?|[\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?|[ -/]{1,4}[0-~]?|[0-~])?"
    r"|\x9b[0-?]{0,64}[ -/]{0,8}[@-~]?)"
)
"""The pattern of one escape sequence; one that is cut off counts as well."""
LOST_ESCAPE: Final = re.compile(
    r"(?:\^\[|\\(?:033|x1[bB]|e|u001[bB])|␛|\ufffd|<ESC>)\[(?:\d{1,3}(?:;\d{1,3}){0,5})?[mK]|\[\d{1,3}(?:;\d{1,3}){0,5}m"
)
"""A colour whose escape character is lost or spelt out, as in `^[[32m` and `[0m`."""

_ESCAPE: Final = re.compile(ESCAPE)


def without_escapes(line: str) -> str:
    r"""The line without escape sequences.

    >>> without_escapes("\x1b[36mgnb-1  | \x1b[0mreset\x1b]0;title\x07\x1b[K")
    'gnb-1  | reset'
    """
    return _ESCAPE.sub("", line)
