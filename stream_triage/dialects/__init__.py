"""Dialects of logs and procedures of 3GPP, as tables that engineers extend: masked lines in, events out.

| file | what it holds |
|---|---|
| `NAME.toml` | a dialect: how lines begin, whom they are about, which phrases are which events |
| `procedures.toml` | the procedures: layer, what must follow, what proves what, and the words of trouble |
| `lexicon.toml` | what 3GPP calls things, for lines of no dialect: phrases of steps, words of layers |
| `words.py` | lines as words, so that case, blanks, punctuation and joined names do not matter |
| `trouble.py` | whether the words of a line say that something is wrong |
| `checks.py` | checks single values |
| `table.py` | checks the content of the files |
| `own.py` | finds and reads files of a user's own |
| `reader.py` | the signal of a masked line |
| `lexicon.py` | the same for lines of no dialect |
"""

from stream_triage.dialects.lexicon import WithLexicon
from stream_triage.dialects.own import dialect_files, load_dialect, load_dialects
from stream_triage.dialects.reader import Continued, Dialects, Event, Signal
from stream_triage.dialects.table import LAYERS, STEPS, DialectTable

__all__ = [
    "LAYERS",
    "STEPS",
    "Continued",
    "DialectTable",
    "Dialects",
    "Event",
    "Signal",
    "WithLexicon",
    "dialect_files",
    "load_dialect",
    "load_dialects",
]
