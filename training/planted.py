"""Logs without a failure in, the same logs with an invented failure inside out: what a reduction has to find on other hosts.

Labelled CI logs come from one host and from builds that failed, mostly near their end. Here a failure is put anywhere into
the log of a build that passed. The wordings are those of common tools. Some tools are only used for training and others only
for tests, so that finding them shows more than that their wording is known.
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

__all__ = ["HELD_OUT", "KINDS", "TRAINING", "Planted", "plant"]

Write = Callable[[random.Random], list[str]]

_PARTS: Final[list[str]] = re.findall(
    r"\w+",
    """
    account buffer cache catalog channel client cluster codec config cursor date decoder device driver encoder
    engine entry event export feed field filter frame graph group handler header index input invoice job key
    layer layout ledger link list loader lock map matrix menu message model node option order packet page parser
    path payment pixel plan policy pool port price process profile proxy query queue reader record region report
    request response route rule scene schema scope search sensor session shape signal socket state storage
    stream style table target task template tenant theme thread ticket token topic tree user vector version view
    volume widget window worker writer zone
    """,
)
_VERBS: Final[list[str]] = re.findall(
    r"\w+",
    """
    add apply build check close copy create decode encode fetch find flush load merge move open parse read
    """,
)


def _name(rng: random.Random) -> str:
    return rng.choice(_PARTS)


def _camel(rng: random.Random) -> str:
    return _name(rng).title() + _name(rng).title()


def _call(rng: random.Random) -> str:
    return rng.choice(_VERBS) + _name(rng).title()


def _snake(rng: random.Random) -> str:
    return f"{rng.choice(_VERBS)}_{_name(rng)}"


def _n(rng: random.Random, most: int = 400) -> int:
    return rng.randint(2, most)


def _gcc(rng: random.Random) -> list[str]:
    a, b, line = _name(rng), _name(rng), _n(rng)
    text = f"{_snake(rng)}({a}, {b}->{_name(rng)});"
    return [
        f"src/{a}/{b}.c: In function '{_snake(rng)}':",
        f"src/{a}/{b}.c:{line}:{_n(rng, 40)}: error: '{b}' undeclared (first use in this function)",
        f"  {line} |     {text}",
        "      |     " + " " * rng.randint(2, 20) + "^" + "~" * len(b),
        f"make[2]: *** [src/{a}/{b}.o] Error 1",
    ]


def _python(rng: random.Random) -> list[str]:
    frames = [
        text
        for _ in range(rng.randint(2, 6))
        for text in (
            f'  File "/srv/app/{_name(rng)}/{_name(rng)}.py", line {_n(rng)}, in {_snake(rng)}',
            f"    {_snake(rng)}({_name(rng)})",
        )
    ]
    error = rng.choice(
        [f"KeyError: '{_name(rng)}'", f"ValueError: {_name(rng)} must not be empty", "ZeroDivisionError: division by zero"]
    )
    return ["Traceback (most recent call last):", *frames, error]


def _java(rng: random.Random) -> list[str]:
    def frames(count: int) -> list[str]:
        return [f"\tat org.{_name(rng)}.{_camel(rng)}.{_call(rng)}({_camel(rng)}.java:{_n(rng)})" for _ in range(count)]

    lines = [f"java.lang.IllegalStateException: {_name(rng)} is not open", *frames(rng.randint(3, 12))]
    if rng.random() < 0.5:
        lines += [
            f"Caused by: java.io.IOException: {_name(rng)} closed",
            *frames(rng.randint(2, 5)),
            f"\t... {_n(rng, 40)} more",
        ]
    return lines


def _maven(rng: random.Random) -> list[str]:
    test, method = f"{_camel(rng)}Test", _call(rng)
    return [
        f"Tests run: {_n(rng)}, Failures: 1, Errors: 0, Skipped: 0, Time elapsed: 2.31 sec <<< FAILURE! - in acme.{test}",
        f"{method}(org.{_name(rng)}.{test})  Time elapsed: 0.012 sec  <<< FAILURE!",
        f"java.lang.AssertionError: expected:<{_n(rng)}> but was:<{_n(rng)}>",
        f"\tat org.junit.Assert.fail(Assert.java:{_n(rng)})",
        f"\tat org.{_name(rng)}.{test}.{method}({test}.java:{_n(rng)})",
    ]


def _tsc(rng: random.Random) -> list[str]:
    file = f"src/{_name(rng)}/{_name(rng)}.ts"
    return [
        f"{file}({_n(rng)},{_n(rng, 60)}): error TS2339: Property '{_call(rng)}' does not exist on type '{_camel(rng)}'."
        for _ in range(rng.randint(1, 4))
    ]


def _jest(rng: random.Random) -> list[str]:
    test = f"src/{_name(rng)}/__tests__/{_name(rng)}.test.js"
    return [
        f"FAIL {test}",
        f"  ● {_camel(rng)} › {_name(rng)} is {_name(rng)}",
        "    expect(received).toEqual(expected)",
        f"    Expected: {_n(rng)}",
        f"    Received: {_n(rng)}",
        f"      at Object.<anonymous> ({test}:{_n(rng)}:{_n(rng, 60)})",
        f"      at {_call(rng)} (node_modules/jest-jasmine2/build/index.js:{_n(rng)}:{_n(rng, 60)})",
    ]


def _node(rng: random.Random) -> list[str]:
    frames = [
        f"    at {_camel(rng)}.{_call(rng)} (/app/lib/{_name(rng)}.js:{_n(rng)}:{_n(rng, 60)})"
        for _ in range(rng.randint(3, 8))
    ]
    return [f"/app/lib/{_name(rng)}.js:{_n(rng)}", f"TypeError: Cannot read property '{_name(rng)}' of undefined", *frames]


def _phpunit(rng: random.Random) -> list[str]:
    return [
        "There was 1 failure:",
        f"1) App\\Tests\\{_camel(rng)}Test::test{_camel(rng)}",
        f"Failed asserting that {_n(rng)} matches expected {_n(rng)}.",
        f"/app/tests/{_camel(rng)}Test.php:{_n(rng)}",
        "FAILURES!",
        f"Tests: {_n(rng)}, Assertions: {_n(rng)}, Failures: 1.",
    ]


def _cmake(rng: random.Random) -> list[str]:
    return [
        f"CMake Error at cmake/Find{_camel(rng)}.cmake:{_n(rng)} (message):",
        f"  Could NOT find {_camel(rng)} (missing: {_name(rng).upper()}_LIBRARY)",
        "Call Stack (most recent call first):",
        f"  CMakeLists.txt:{_n(rng)} (find_package)",
    ]


def _npm(rng: random.Random) -> list[str]:
    package = f"{_name(rng)}-{_name(rng)}"
    return [
        "npm ERR! code ETARGET",
        f"npm ERR! notarget No matching version found for {package}@^{_n(rng, 9)}.{_n(rng, 9)}.0.",
        "npm ERR! notarget In most cases you or one of your dependencies are requesting",
        "npm ERR! notarget a package version that doesn't exist.",
    ]


def _rustc(rng: random.Random) -> list[str]:
    file, line, column = f"src/{_name(rng)}/{_name(rng)}.rs", _n(rng), _n(rng, 30)
    return [
        "error[E0308]: mismatched types",
        f"  --> {file}:{line}:{column}",
        "   |",
        f"{line} |         let {_name(rng)}: u32 = {_snake(rng)}({_name(rng)});",
        "   |" + " " * (column + 8) + "^^^^^^^^^^^ expected `u32`, found `String`",
    ]


def _javac(rng: random.Random) -> list[str]:
    return [
        f"core/src/main/java/{_name(rng)}/{_camel(rng)}.java:{_n(rng)}: error: cannot find symbol",
        f"        {_name(rng)}.{_call(rng)}({_name(rng)});",
        " " * rng.randint(10, 30) + "^",
        f"  symbol:   method {_call(rng)}({_camel(rng)})",
        f"  location: class {_camel(rng)}",
    ]


def _pytest(rng: random.Random) -> list[str]:
    test, name = f"tests/test_{_name(rng)}.py", _snake(rng)
    return [
        f"____________________ test_{name} ____________________",
        f"    def test_{name}({_name(rng)}):",
        f"        {_name(rng)} = {_snake(rng)}({_n(rng)})",
        f">       assert {_name(rng)}.{_name(rng)} == {_n(rng)}",
        f"E       assert {_n(rng)} == {_n(rng)}",
        f"{test}:{_n(rng)}: AssertionError",
    ]


def _go(rng: random.Random) -> list[str]:
    frames = [
        text
        for _ in range(rng.randint(2, 5))
        for text in (
            f"github.com/acme/{_name(rng)}.{_call(rng)}(0xc000{_n(rng)}e0)",
            f"\t/go/src/github.com/acme/{_name(rng)}/{_name(rng)}.go:{_n(rng)} +0x1d",
        )
    ]
    return [
        "panic: runtime error: invalid memory address or nil pointer dereference",
        f"goroutine {_n(rng)} [running]:",
        *frames,
    ]


def _linker(rng: random.Random) -> list[str]:
    name = _camel(rng)
    return [
        f"/usr/bin/ld: CMakeFiles/{_name(rng)}.dir/{_name(rng)}.cpp.o: in function `{name}::{_call(rng)}()':",
        f"{_name(rng)}.cpp:(.text+0x{_n(rng)}): undefined reference to `{name}::{_call(rng)}(int)'",
        "collect2: error: ld returned 1 exit status",
        "ninja: build stopped: subcommand failed.",
    ]


def _rspec(rng: random.Random) -> list[str]:
    file = f"./spec/{_name(rng)}/{_name(rng)}_spec.rb"
    return [
        "Failures:",
        f"  1) {_camel(rng)} #{_snake(rng)} returns the {_name(rng)}",
        f"     Failure/Error: expect(subject.{_snake(rng)}).to eq({_n(rng)})",
        f"       expected: {_n(rng)}",
        f"            got: {_n(rng)}",
        f"     # {file}:{_n(rng)}:in `block (3 levels) in <top (required)>'",
        f"{_n(rng)} examples, 1 failure",
    ]


def _dotnet(rng: random.Random) -> list[str]:
    frames = [
        f"   at Acme.{_camel(rng)}.{_call(rng).title()}() in /src/{_camel(rng)}.cs:line {_n(rng)}"
        for _ in range(rng.randint(2, 7))
    ]
    return [f"Unhandled exception. System.InvalidOperationException: Sequence contains no {_name(rng)}", *frames]


def _sanitizer(rng: random.Random) -> list[str]:
    frames = [
        f"    #{i} 0x55d{_n(rng)}a3 in {_snake(rng)} /src/{_name(rng)}/{_name(rng)}.cc:{_n(rng)}"
        for i in range(rng.randint(3, 8))
    ]
    return [f"=={_n(rng)}==ERROR: AddressSanitizer: heap-use-after-free on address 0x6020000{_n(rng)}", *frames]


def _ctest(rng: random.Random) -> list[str]:
    return [
        f"{_n(rng, 99)}% tests passed, 1 tests failed out of {_n(rng)}",
        "The following tests FAILED:",
        f"\t {_n(rng)} - {_name(rng)}_{_name(rng)} (Failed)",
        "Errors while running CTest",
    ]


TRAINING: Final[dict[str, Write]] = {
    "gcc": _gcc,
    "python": _python,
    "java": _java,
    "maven": _maven,
    "tsc": _tsc,
    "jest": _jest,
    "node": _node,
    "phpunit": _phpunit,
    "cmake": _cmake,
    "npm": _npm,
}
HELD_OUT: Final[dict[str, Write]] = {
    "rustc": _rustc,
    "javac": _javac,
    "pytest": _pytest,
    "go": _go,
    "linker": _linker,
    "rspec": _rspec,
    "dotnet": _dotnet,
    "sanitizer": _sanitizer,
    "ctest": _ctest,
}
KINDS: Final = {**TRAINING, **HELD_OUT}


class Planted(NamedTuple):
    """A log with a failure in it."""

    kind: str
    lines: list[str]
    first: int
    """Index of the first line of the failure."""
    last: int


def plant(lines: Sequence[str], kind: str, rng: random.Random) -> Planted:
    """Puts a failure of this kind into a log, between a tenth and nine tenths of it."""
    failure = KINDS[kind](rng)
    at = rng.randint(len(lines) // 10, 9 * len(lines) // 10)
    return Planted(kind, [*lines[:at], *failure, *lines[at:]], at, at + len(failure) - 1)
