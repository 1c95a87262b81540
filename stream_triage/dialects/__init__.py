"""Dialects of logs and procedures of 3GPP, as tables that engineers extend: masked lines in, events out.

| file | what it holds |
|---|---|
| `NAME.toml` | a dialect: how lines begin, whom they are about, which phrases are which events |
| `procedures.toml` | the procedures: layer, what must follow, what proves what, and the words of trouble |
| `words.py` | lines as words, so that case, blanks and punctuation do not matter |
| `table.py` | checks the files |
| `reader.py` | the signal of a masked line |
"""

from stream_triage.dialects.reader import Continued, Dialects, Event, Signal
from stream_triage.dialects.table import LAYERS, STEPS, DialectTable, load_dialect

__all__ = ["LAYERS", "STEPS", "Continued", "DialectTable", "Dialects", "Event", "Signal", "load_dialect"]
