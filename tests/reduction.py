"""Small logs for tests of the reduction, written for them, and lines in memory that read like the text of a run."""

import re
from collections.abc import Mapping, Sequence

__all__ = ["JAVA_TRACE", "PLAIN_LOG", "PYTHON_TRACE", "RUST_DIAGNOSTIC", "Lines"]

PYTHON_TRACE = [
    "Traceback (most recent call last):",
    '  File "/srv/app/ledger.py", line 31, in close',
    "    self.flush(pending)",
    '  File "/srv/app/ledger.py", line 12, in flush',
    "    raise ValueError(name)",
    "ValueError: the journal is closed",
]
JAVA_TRACE = [
    "java.lang.IllegalStateException: the journal is closed",
    "\tat org.acme.Ledger.close(Ledger.java:31)",
    "\tat org.acme.Main.main(Main.java:7)",
    "Caused by: java.io.IOException: no space",
    "\tat org.acme.Journal.write(Journal.java:99)",
    "\t... 2 more",
]
RUST_DIAGNOSTIC = [
    "error[E0308]: mismatched types",
    "  --> src/ledger.rs:31:9",
    "   |",
    "31 |     let total: u32 = sum(rows);",
    "   |                      ^^^^^^^^^ expected `u32`, found `String`",
]
_ANIMALS = re.findall(
    r"\w+",
    """
    ant bat cat dog eel fox gnu hen ibex jay kiwi lark mole newt owl pig quail rat seal toad vole wasp yak zebu
    """,
)
PLAIN_LOG = [
    text
    for i, animal in enumerate(_ANIMALS * 5)
    for text in (
        f"Downloading {animal}-{i}.tar.gz ({i + 20} kB)",
        f"  compiling {animal}/{_ANIMALS[i % 7]}.c",
        f"ok {i} - {animal} is fed in {i % 5} ms",
    )
]
"""360 lines of a build that went well."""


class Lines:
    """Lines by source; as `RunText`."""

    def __init__(self, lines: Mapping[str, Sequence[str]]) -> None:
        self._lines = dict(lines)

    def sources(self) -> Sequence[str]:
        return sorted(self._lines)

    def line_count(self, source: str) -> int:
        return len(self._lines[source])

    def read(self, source: str, first: int, last: int) -> list[str]:
        return list(self._lines[source][max(first, 1) - 1 : last])

    def close(self) -> None:
        self._lines.clear()
