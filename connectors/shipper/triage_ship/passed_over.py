"""A file in; why it is clearly no log, by its name or its first bytes, out."""

import re
from pathlib import Path

from triage_ship.kinds import HEAD_BYTES, kind_of_content

__all__ = ["HEAD_BYTES", "reason_to_pass_over"]

# Files that are empty or incomplete when they appear, so that their first bytes do not tell what they will be.
_NAMES = (
    (re.compile(r"\.(?:pcap|pcapng|cap)[0-9]*$", re.IGNORECASE), "is a packet capture, not a log"),
    (re.compile(r"^(?:core|core\.[0-9]+|.+\.core|vgcore\.[0-9]+)$"), "is a core dump, not a log"),
    (re.compile(r"^\..+\.sw[a-z]$|\.sw[op]$|^\.#|^#.*#$|~$"), "is a file of an editor, not a log"),
    (re.compile(r"\.(?:pid|lock|sock)$"), "marks a process that runs, and is not a log"),
)


def reason_to_pass_over(path: Path, head: bytes = b"") -> str | None:
    """Why a file is no log; None if it may be one. `head` has the first `HEAD_BYTES`, as far as they exist.

    >>> [reason_to_pass_over(Path(name)) for name in ("ue.pcap", "core.411", "core.log")]
    ['is a packet capture, not a log', 'is a core dump, not a log', None]
    """
    for pattern, reason in _NAMES:
        if pattern.search(path.name):
            return reason
    kind = kind_of_content(head, path.name)
    return kind.reason if kind else None
