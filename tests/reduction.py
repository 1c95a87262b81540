"""Small logs for tests of the reduction, written for them, and lines in memory that read like the text of a run."""

import re
from collections.abc import Mapping, Sequence

__all__ = [
    "CMAKE_ERROR",
    "GO_PANIC",
    "JAVA_TRACE",
    "JEST_FAILURE",
    "PLAIN_LOG",
    "PYTEST_FAILURE",
    "PYTHON_CHAIN",
    "PYTHON_TRACE",
    "RUST_DIAGNOSTIC",
    "RUST_PANIC",
    "Lines",
]

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
PYTHON_CHAIN = [
    *PYTHON_TRACE,
    "",
    "During handling of the above exception, another exception occurred:",
    "",
    *PYTHON_TRACE,
]
GO_PANIC = [
    "panic: assignment to entry in nil map",
    "",
    "goroutine 7 [running]:",
    "acme.example/ledger.(*Book).Close(0xc000012080)",
    "\t/src/ledger/book.go:31 +0x45",
    "main.main()",
    "\t/src/main.go:12 +0x1d",
    "",
    "goroutine 9 [chan receive]:",
    "acme.example/ledger.wait(...)",
    "\t/src/ledger/wait.go:7 +0x2f",
]
RUST_PANIC = [
    "thread 'ledger::tests::closes' panicked at src/ledger.rs:31:9:",
    "assertion `left == right` failed",
    "  left: 3",
    " right: 4",
    "stack backtrace:",
    "   0: ledger::close",
    "             at ./src/ledger.rs:31:9",
    "   1: ledger::tests::closes",
    "             at ./src/ledger.rs:77:5",
]
CMAKE_ERROR = [
    "CMake Error at cmake/FindLedger.cmake:31 (message):",
    "  Could NOT find Ledger (missing: LEDGER_LIBRARY",
    "  LEDGER_INCLUDE_DIR)",
    "Call Stack (most recent call first):",
    "  cmake/FindLedger.cmake:12 (fail)",
    "  CMakeLists.txt:7 (find_package)",
]
JEST_FAILURE = [
    "FAIL src/ledger.spec.js",
    "  ● Ledger › closes",
    "",
    "    expect(received).toBe(expected)",
    "",
    "    Expected: 3",
    "    Received: 4",
    "",
    "    > 31 |     expect(ledger.close()).toBe(3);",
    "         |                            ^",
    "",
    "      at Object.<anonymous> (src/ledger.spec.js:31:28)",
]
PYTEST_FAILURE = [
    "_______________________ test_closes _______________________",
    "",
    "    def test_closes():",
    "        ledger = open_ledger(3)",
    ">       assert ledger.close() == 4",
    "E       assert 3 == 4",
    "",
    "tests/test_ledger.py:31: AssertionError",
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
