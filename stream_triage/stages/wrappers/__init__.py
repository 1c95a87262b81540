"""Lines as they were collected in, lines as they were written out: prefixes of CI systems, containers and loggers come off.

    formats   the known wrappers: what their prefix looks like
    layers    one wrapper, fitted to the lines of a source: splits a line into prefix and body
    layout    the wrappers of a source, one inside the other
    learn     a prefix that is in no table, learned from the lines of a source
    choose    which wrappers a source has, decided from its first lines and what the bundle knows
    join      partial lines that a wrapper cut are joined again
    batches   lines by service, as people see them and as models read them
    unwrap    all of this for one source, with a bounded state

A wrapper is taken off if the bundle knows clearly more lines without it. A source whose lines the bundle knows as they are
is never changed, so a bundle that was trained on wrapped logs keeps working.
"""

from stream_triage.stages.wrappers.batches import Batch
from stream_triage.stages.wrappers.choose import Judge
from stream_triage.stages.wrappers.formats import FORMAT_NAMES
from stream_triage.stages.wrappers.unwrap import OTHER_SERVICES, Unwrapper

__all__ = ["FORMAT_NAMES", "OTHER_SERVICES", "Batch", "Judge", "Unwrapper"]
