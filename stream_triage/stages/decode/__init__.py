"""Bytes of one source in, text out. The first stage: files, pipes, messages and archives all come as bytes.

| module | what it holds |
|---|---|
| `decoder` | `Decoder`: the encoding that is set or found out, and the counts of what was no text |
| `mixed` | text in a mixture of encodings, however its bytes are cut |
| `narrow` | lines in UTF-8, or another encoding where UTF-8 fails |
| `wide_lines` | lines in UTF-16 and UTF-32 |
| `wide` | how UTF-16 and UTF-32 are recognised without a byte order mark |
| `raw` | the line ends and the text of raw lines, for code that cuts or joins bytes |
| `detect` | how other encodings are recognised where UTF-8 fails |
"""

from stream_triage.stages.decode.damage import Damage
from stream_triage.stages.decode.decoder import AUTO, Decoder
from stream_triage.stages.decode.mixed import GAP
from stream_triage.stages.decode.raw import line_text, missing_line_end, raw_lines

__all__ = ["AUTO", "GAP", "Damage", "Decoder", "line_text", "missing_line_end", "raw_lines"]
