"""A run in; the address of its board out, with the state that Dashboards keeps in the fragment of a URL (as Rison)."""

import math
from typing import Any, Final

from stream_triage.settings import OpenSearchSettings

__all__ = ["ADDRESS", "CHOOSER", "NO_RUN", "days_kept", "rison", "run_board", "run_filter"]

# The field of the link. Its values can be part of any URL as they are, whatever the run id contains.
ADDRESS: Final = "triage.run.address"
# Id of the control with which people choose another run; it replaces the filter of this id.
CHOOSER: Final = "run"
# An address that no run has: the board of one run shows nothing until somebody chooses a run.
NO_RUN: Final = "no run chosen"
# An index is deleted when the last day of its month is too old.
LONGEST_MONTH_DAYS: Final = 31
YEARS_WITHOUT_RETENTION: Final = 10


def days_kept(settings: OpenSearchSettings) -> int:
    """Returns for how many days a verdict can be found."""
    days = settings.verdicts_max_age_days
    return 365 * YEARS_WITHOUT_RETENTION if days is None else math.ceil(days) + LONGEST_MONTH_DAYS


def run_filter(index: str, address: str) -> dict[str, Any]:
    """Returns the filter that the chooser sets; `index` is the id of the index pattern."""
    alias = "no run chosen" if address == NO_RUN else None
    meta = {"alias": alias, "controlledBy": CHOOSER, "disabled": False, "index": index, "key": ADDRESS, "negate": False,
            "params": {"query": address}, "type": "phrase"}  # fmt: skip
    return {"$state": {"store": "appState"}, "meta": meta, "query": {"match_phrase": {ADDRESS: address}}}


def run_board(settings: OpenSearchSettings, address: str) -> str:
    """Returns the part of an address after `/app/dashboards`: the board of one run. `address` may be a placeholder."""
    prefix = settings.index_prefix
    time = rison({"time": {"from": f"now-{days_kept(settings)}d", "to": "now"}})
    filters = [run_filter(f"{prefix}-verdicts", address)]
    state = rison({"filters": filters, "query": {"language": "lucene", "query": ""}})
    return f"#/view/{prefix}-run?_g={time}&_a={state}"


def rison(value: Any) -> str:
    """Returns a value as Dashboards writes it into an address. Every text is quoted, which Rison always allows.

    >>> rison({"time": {"from": "now-7d"}, "filters": [True, None, "it's"]})
    "('time':('from':'now-7d'),'filters':!(!t,!n,'it!'s'))"
    """
    if value is None or isinstance(value, bool):
        return {None: "!n", True: "!t", False: "!f"}[value]
    if isinstance(value, dict):
        return "(" + ",".join(f"{rison(name)}:{rison(each)}" for name, each in value.items()) + ")"
    if isinstance(value, list | tuple):
        return f"!({','.join(map(rison, value))})"
    if isinstance(value, str):
        return "'" + value.replace("!", "!!").replace("'", "!'") + "'"
    return str(value)
