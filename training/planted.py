"""Logs without a failure in, the same logs with an invented failure inside out: what a reduction has to find on other hosts.

Labelled CI logs come from one host and from builds that failed, mostly near their end. Here a failure is put anywhere into
the log of a build that passed. The wordings are those of common tools. Some tools are only used for training and others only
for tests, so that finding them shows more than that their wording is known.
"""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from training.planted_long import LONG
from training.wordings import Write, call, camel, name, number, snake

__all__ = ["HELD_OUT", "KINDS", "TRAINING", "Planted", "plant"]


def _gcc(rng: random.Random) -> list[str]:
    a, b, line = name(rng), name(rng), number(rng)
    text = f"{snake(rng)}({a}, {b}->{name(rng)});"
    return [
        f"src/{a}/{b}.c: In function '{snake(rng)}':",
        f"src/{a}/{b}.c:{line}:{number(rng, 40)}: error: '{b}' undeclared (first use in this function)",
        f"  {line} |     {text}",
        "      |     " + " " * rng.randint(2, 20) + "^" + "~" * len(b),
        f"make[2]: *** [src/{a}/{b}.o] Error 1",
    ]


def _python(rng: random.Random) -> list[str]:
    frames = [
        text
        for _ in range(rng.randint(2, 6))
        for text in (
            f'  File "/srv/app/{name(rng)}/{name(rng)}.py", line {number(rng)}, in {snake(rng)}',
            f"    {snake(rng)}({name(rng)})",
        )
    ]
    error = rng.choice(
        [f"KeyError: '{name(rng)}'", f"ValueError: {name(rng)} must not be empty", "ZeroDivisionError: division by zero"]
    )
    return ["Traceback (most recent call last):", *frames, error]


def _java(rng: random.Random) -> list[str]:
    def frames(count: int) -> list[str]:
        return [f"\tat org.{name(rng)}.{camel(rng)}.{call(rng)}({camel(rng)}.java:{number(rng)})" for _ in range(count)]

    lines = [f"java.lang.IllegalStateException: {name(rng)} is not open", *frames(rng.randint(3, 12))]
    if rng.random() < 0.5:
        lines += [
            f"Caused by: java.io.IOException: {name(rng)} closed",
            *frames(rng.randint(2, 5)),
            f"\t... {number(rng, 40)} more",
        ]
    return lines


def _maven(rng: random.Random) -> list[str]:
    test, method = f"{camel(rng)}Test", call(rng)
    return [
        f"Tests run: {number(rng)}, Failures: 1, Errors: 0, Skipped: 0, Time elapsed: 2.31 sec <<< FAILURE! - in a.{test}",
        f"{method}(org.{name(rng)}.{test})  Time elapsed: 0.012 sec  <<< FAILURE!",
        f"java.lang.AssertionError: expected:<{number(rng)}> but was:<{number(rng)}>",
        f"\tat org.junit.Assert.fail(Assert.java:{number(rng)})",
        f"\tat org.{name(rng)}.{test}.{method}({test}.java:{number(rng)})",
    ]


def _tsc(rng: random.Random) -> list[str]:
    file = f"src/{name(rng)}/{name(rng)}.ts"
    return [
        f"{file}({number(rng)},{number(rng, 60)}): error TS2339: "
        f"Property '{call(rng)}' does not exist on type '{camel(rng)}'."
        for _ in range(rng.randint(1, 4))
    ]


def _jest(rng: random.Random) -> list[str]:
    test = f"src/{name(rng)}/__tests__/{name(rng)}.test.js"
    return [
        f"FAIL {test}",
        f"  ● {camel(rng)} › {name(rng)} is {name(rng)}",
        "    expect(received).toEqual(expected)",
        f"    Expected: {number(rng)}",
        f"    Received: {number(rng)}",
        f"      at Object.<anonymous> ({test}:{number(rng)}:{number(rng, 60)})",
        f"      at {call(rng)} (node_modules/jest-jasmine2/build/index.js:{number(rng)}:{number(rng, 60)})",
    ]


def _node(rng: random.Random) -> list[str]:
    frames = [
        f"    at {camel(rng)}.{call(rng)} (/app/lib/{name(rng)}.js:{number(rng)}:{number(rng, 60)})"
        for _ in range(rng.randint(3, 8))
    ]
    return [f"/app/lib/{name(rng)}.js:{number(rng)}", f"TypeError: Cannot read property '{name(rng)}' of undefined", *frames]


def _phpunit(rng: random.Random) -> list[str]:
    return [
        "There was 1 failure:",
        f"1) App\\Tests\\{camel(rng)}Test::test{camel(rng)}",
        f"Failed asserting that {number(rng)} matches expected {number(rng)}.",
        f"/app/tests/{camel(rng)}Test.php:{number(rng)}",
        "FAILURES!",
        f"Tests: {number(rng)}, Assertions: {number(rng)}, Failures: 1.",
    ]


def _cmake(rng: random.Random) -> list[str]:
    return [
        f"CMake Error at cmake/Find{camel(rng)}.cmake:{number(rng)} (message):",
        f"  Could NOT find {camel(rng)} (missing: {name(rng).upper()}_LIBRARY)",
        "Call Stack (most recent call first):",
        f"  CMakeLists.txt:{number(rng)} (find_package)",
    ]


def _npm(rng: random.Random) -> list[str]:
    package = f"{name(rng)}-{name(rng)}"
    return [
        "npm ERR! code ETARGET",
        f"npm ERR! notarget No matching version found for {package}@^{number(rng, 9)}.{number(rng, 9)}.0.",
        "npm ERR! notarget In most cases you or one of your dependencies are requesting",
        "npm ERR! notarget a package version that doesn't exist.",
    ]


def _rustc(rng: random.Random) -> list[str]:
    file, line, column = f"src/{name(rng)}/{name(rng)}.rs", number(rng), number(rng, 30)
    return [
        "error[E0308]: mismatched types",
        f"  --> {file}:{line}:{column}",
        "   |",
        f"{line} |         let {name(rng)}: u32 = {snake(rng)}({name(rng)});",
        "   |" + " " * (column + 8) + "^^^^^^^^^^^ expected `u32`, found `String`",
    ]


def _javac(rng: random.Random) -> list[str]:
    return [
        f"core/src/main/java/{name(rng)}/{camel(rng)}.java:{number(rng)}: error: cannot find symbol",
        f"        {name(rng)}.{call(rng)}({name(rng)});",
        " " * rng.randint(10, 30) + "^",
        f"  symbol:   method {call(rng)}({camel(rng)})",
        f"  location: class {camel(rng)}",
    ]


def _pytest(rng: random.Random) -> list[str]:
    test, tested = f"tests/test_{name(rng)}.py", snake(rng)
    return [
        f"____________________ test_{tested} ____________________",
        f"    def test_{tested}({name(rng)}):",
        f"        {name(rng)} = {snake(rng)}({number(rng)})",
        f">       assert {name(rng)}.{name(rng)} == {number(rng)}",
        f"E       assert {number(rng)} == {number(rng)}",
        f"{test}:{number(rng)}: AssertionError",
    ]


def _go(rng: random.Random) -> list[str]:
    frames = [
        text
        for _ in range(rng.randint(2, 5))
        for text in (
            f"github.com/acme/{name(rng)}.{call(rng)}(0xc000{number(rng)}e0)",
            f"\t/go/src/github.com/acme/{name(rng)}/{name(rng)}.go:{number(rng)} +0x1d",
        )
    ]
    return [
        "panic: runtime error: invalid memory address or nil pointer dereference",
        f"goroutine {number(rng)} [running]:",
        *frames,
    ]


def _linker(rng: random.Random) -> list[str]:
    owner = camel(rng)
    return [
        f"/usr/bin/ld: CMakeFiles/{name(rng)}.dir/{name(rng)}.cpp.o: in function `{owner}::{call(rng)}()':",
        f"{name(rng)}.cpp:(.text+0x{number(rng)}): undefined reference to `{owner}::{call(rng)}(int)'",
        "collect2: error: ld returned 1 exit status",
        "ninja: build stopped: subcommand failed.",
    ]


def _rspec(rng: random.Random) -> list[str]:
    file = f"./spec/{name(rng)}/{name(rng)}_spec.rb"
    return [
        "Failures:",
        f"  1) {camel(rng)} #{snake(rng)} returns the {name(rng)}",
        f"     Failure/Error: expect(subject.{snake(rng)}).to eq({number(rng)})",
        f"       expected: {number(rng)}",
        f"            got: {number(rng)}",
        f"     # {file}:{number(rng)}:in `block (3 levels) in <top (required)>'",
        f"{number(rng)} examples, 1 failure",
    ]


def _dotnet(rng: random.Random) -> list[str]:
    frames = [
        f"   at Acme.{camel(rng)}.{call(rng).title()}() in /src/{camel(rng)}.cs:line {number(rng)}"
        for _ in range(rng.randint(2, 7))
    ]
    return [f"Unhandled exception. System.InvalidOperationException: Sequence contains no {name(rng)}", *frames]


def _sanitizer(rng: random.Random) -> list[str]:
    frames = [
        f"    #{i} 0x55d{number(rng)}a3 in {snake(rng)} /src/{name(rng)}/{name(rng)}.cc:{number(rng)}"
        for i in range(rng.randint(3, 8))
    ]
    return [f"=={number(rng)}==ERROR: AddressSanitizer: heap-use-after-free on address 0x6020000{number(rng)}", *frames]


def _ctest(rng: random.Random) -> list[str]:
    return [
        f"{number(rng, 99)}% tests passed, 1 tests failed out of {number(rng)}",
        "The following tests FAILED:",
        f"\t {number(rng)} - {name(rng)}_{name(rng)} (Failed)",
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
KINDS: Final = {**TRAINING, **HELD_OUT, **LONG}


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
