"""A line in, its time of day out."""

import re
from typing import Final

__all__ = ["clock", "elapsed"]

DAY_SECONDS: Final = 86_400
_CLOCK: Final = re.compile(r"(?<!\d)(\d\d):(\d\d):(\d\d)(?:[.,:](\d{1,9}))?")
# A time stamp is at the beginning of a line, perhaps behind a level or a service.
_STAMP_WIDTH: Final = 60


def clock(line: str) -> float | None:
    """Time of day in seconds, None if the line has no time stamp.

    >>> clock("07/03/24 10:00:00:250	RSET")
    36000.25
    """
    match = _CLOCK.search(line, 0, _STAMP_WIDTH)
    if not match:
        return None
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}")


def elapsed(since: float, until: float) -> float:
    """Seconds between two times of day, over midnight too. 0 if time went back a little: records may be out of order."""
    passed = (until - since) % DAY_SECONDS
    return passed if passed < DAY_SECONDS / 2 else 0.0
