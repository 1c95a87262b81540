"""A file in; why it is clearly no log, by its name or its first bytes, out."""

import re
from pathlib import Path

__all__ = ["HEAD_BYTES", "reason_to_pass_over"]

HEAD_BYTES = 16
_NAMES = (
    (re.compile(r"\.(?:pcap|pcapng|cap)[0-9]*$", re.IGNORECASE), "is a packet capture"),
    (re.compile(r"^(?:core|core\.[0-9]+|.+\.core|vgcore\.[0-9]+)$"), "is a memory dump"),
    (re.compile(r"^\..+\.sw[a-z]$|\.sw[op]$|^\.#|^#.*#$|~$"), "is the working file of an editor"),
    (re.compile(r"\.(?:pid|lock|sock)$"), "marks a process that runs"),
)
_BEGINNINGS = (
    (b"\x7fELF", "is a program or a memory dump"),
    (b"\xd4\xc3\xb2\xa1", "is a packet capture"),
    (b"\xa1\xb2\xc3\xd4", "is a packet capture"),
    (b"\x4d\x3c\xb2\xa1", "is a packet capture"),
    (b"\xa1\xb2\x3c\x4d", "is a packet capture"),
    (b"b0VIM ", "is the working file of an editor"),
    (b"SQLite f", "is a database"),
    (b"\x89PNG\r\n", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
)


def reason_to_pass_over(path: Path, head: bytes = b"") -> str | None:
    """Why a file is no log; None if it may be one. `head` has the first 16 bytes, as far as they exist.

    >>> [reason_to_pass_over(Path(name)) for name in ("ue.pcap", ".ue.log.swp", "core.411", "core.log")]
    ['is a packet capture', 'is the working file of an editor', 'is a memory dump', None]
    """
    reasons = [reason for pattern, reason in _NAMES if pattern.search(path.name)]
    if head.startswith(b"\n\r\r\n") and head[8:12] in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
        reasons.append("is a packet capture")
    reasons += [reason for beginning, reason in _BEGINNINGS if head.startswith(beginning)]
    return reasons[0] if reasons else None
