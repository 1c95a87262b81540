"""Failures with all that real tools print around them: blank lines, several goroutines, causes of causes, code, notes.

None of them is used for training: they measure whether a block stays whole whose form was never seen.
"""

import random
from typing import Final

from training.wordings import Write, call, camel, name, number, snake

__all__ = ["LONG"]


def _go_panic(rng: random.Random) -> list[str]:
    def frames(count: int) -> list[str]:
        return [
            text
            for _ in range(count)
            for text in (
                f"example.org/{name(rng)}/{name(rng)}.(*{camel(rng)}).{call(rng)}(0xc000{number(rng)}e0, 0x{number(rng)})",
                f"\t/build/{name(rng)}/{name(rng)}.go:{number(rng)} +0x{number(rng)}",
            )
        ]

    lines = [
        "panic: runtime error: index out of range [5] with length 3",
        "",
        f"goroutine {number(rng)} [running]:",
        *frames(rng.randint(2, 4)),
        "created by testing.(*T).Run",
        f"\t/usr/local/go/src/testing/testing.go:{number(rng)} +0x357",
    ]
    for _ in range(rng.randint(0, 2)):
        lines += ["", f"goroutine {number(rng)} [chan receive]:", *frames(rng.randint(1, 3))]
    return [*lines, f"FAIL\texample.org/{name(rng)}/{name(rng)}\t0.01{number(rng)}s"]


def _go_test(rng: random.Random) -> list[str]:
    test = f"Test{camel(rng)}"
    return [
        f"--- FAIL: {test} (0.0{number(rng, 9)}s)",
        f"    {name(rng)}_test.go:{number(rng)}: ",
        f"        \tError Trace:\t{name(rng)}_test.go:{number(rng)}",
        "        \tError:      \tNot equal: ",
        f"        \t            \texpected: {number(rng)}",
        f"        \t            \tactual  : {number(rng)}",
        f"        \tTest:       \t{test}",
        "FAIL",
    ]


def _python_chain(rng: random.Random) -> list[str]:
    def traceback(error: str) -> list[str]:
        frames = [
            text
            for _ in range(rng.randint(1, 4))
            for text in (
                f'  File "/opt/{name(rng)}/{name(rng)}.py", line {number(rng)}, in {snake(rng)}',
                f"    return self.{snake(rng)}({name(rng)}, {name(rng)}={number(rng)})",
            )
        ]
        return ["Traceback (most recent call last):", *frames, error]

    second = rng.choice(
        [
            "During handling of the above exception, another exception occurred:",
            "The above exception was the direct cause of the following exception:",
        ]
    )
    return [
        *traceback(f"KeyError: '{name(rng)}'"),
        "",
        second,
        "",
        *traceback(f"{name(rng)}.errors.{camel(rng)}Error: no {name(rng)} for {name(rng)} {number(rng)}"),
    ]


def _java_causes(rng: random.Random) -> list[str]:
    def frames(count: int) -> list[str]:
        return [f"\tat com.{name(rng)}.{camel(rng)}.{call(rng)}({camel(rng)}.java:{number(rng)})" for _ in range(count)]

    lines = [
        f'Exception in thread "{name(rng)}-{number(rng, 9)}" com.{name(rng)}.{camel(rng)}Exception: cannot {call(rng)}',
        *frames(rng.randint(2, 8)),
    ]
    for _ in range(rng.randint(1, 3)):
        cause = f"Caused by: com.{name(rng)}.{camel(rng)}Exception: {name(rng)} {number(rng)} was closed"
        lines += [cause, *frames(rng.randint(1, 4)), f"\t... {number(rng, 40)} more"]
    return lines


def _rust_panic(rng: random.Random) -> list[str]:
    lines = [
        f"---- {name(rng)}::tests::{snake(rng)} stdout ----",
        f"thread '{name(rng)}::tests::{snake(rng)}' panicked at src/{name(rng)}.rs:{number(rng)}:{number(rng, 40)}:",
        "assertion `left == right` failed",
        f"  left: {number(rng)}",
        f" right: {number(rng)}",
        "stack backtrace:",
    ]
    for i in range(rng.randint(2, 5)):
        lines += [
            f"   {i}: {name(rng)}::{snake(rng)}",
            f"             at ./src/{name(rng)}.rs:{number(rng)}:{number(rng, 40)}",
        ]
    return lines


def _rustc_notes(rng: random.Random) -> list[str]:
    file, line = f"crates/{name(rng)}/src/{name(rng)}.rs", number(rng)
    return [
        f"error[E0382]: borrow of moved value: `{name(rng)}`",
        f"   --> {file}:{line}:{number(rng, 40)}",
        "    |",
        f"{line:<4}|     let {name(rng)} = {name(rng)}.{snake(rng)}();",
        "    |         ---- move occurs because the value does not implement the `Copy` trait",
        "...",
        f"{line + 9:<4}|     {snake(rng)}(&{name(rng)});",
        "    |          ^^^^^ value borrowed here after move",
        "    |",
        "    = note: this error originates in the macro `$crate::format_args_nl`",
        "help: consider cloning the value if the performance cost is acceptable",
        "    |",
        f"{line:<4}|     let {name(rng)} = {name(rng)}.clone().{snake(rng)}();",
        "    |                          ++++++++",
    ]


def _clang_notes(rng: random.Random) -> list[str]:
    header, line, indent = f"lib/{name(rng)}/{camel(rng)}.h", number(rng), " " * rng.randint(4, 20)
    return [
        f"In file included from lib/{name(rng)}/{camel(rng)}.cpp:{number(rng, 30)}:",
        f"{header}:{line}:{number(rng, 40)}: error: no matching function for call to '{call(rng)}'",
        f"    {name(rng)}->{call(rng)}({name(rng)}, {name(rng)});",
        f"{indent}^~~~~~~~",
        f"{header}:{line - 1}:{number(rng, 40)}: note: candidate function not viable: requires 1 argument",
        f"  void {call(rng)}(const {camel(rng)} &{name(rng)});",
        "       ^",
        "1 error generated.",
    ]


def _jest_code(rng: random.Random) -> list[str]:
    file, line = f"src/{name(rng)}/{name(rng)}.spec.js", number(rng)
    return [
        f"  ● {camel(rng)} › {snake(rng)} › resolves the {name(rng)}",
        "",
        "    expect(received).toBe(expected) // Object.is equality",
        "",
        f"    Expected: {number(rng)}",
        f"    Received: {number(rng)}",
        "",
        f"      {line - 1} |     const {name(rng)} = await {call(rng)}();",
        f"    > {line} |     expect({name(rng)}).toBe({number(rng)});",
        "         |                   ^",
        f"      {line + 1} |   }});",
        "",
        f"      at Object.<anonymous> ({file}:{line}:{number(rng, 60)})",
    ]


def _pytest_section(rng: random.Random) -> list[str]:
    test, file = f"test_{snake(rng)}", f"tests/{name(rng)}/test_{name(rng)}.py"
    value, other = number(rng), number(rng)
    return [
        f"_______________________ {camel(rng)}Tests.{test} _______________________",
        "",
        f"self = <test_{name(rng)}.{camel(rng)}Tests testMethod={test}>",
        "",
        f"    def {test}(self):",
        f"        {name(rng)} = {snake(rng)}({number(rng)})",
        f">       self.assertEqual({name(rng)}, {other})",
        f"E       AssertionError: {value} != {other}",
        "",
        f"{file}:{number(rng)}: AssertionError",
        "----------------------------- Captured stdout call -----------------------------",
        f"{name(rng)} {name(rng)} {number(rng)}",
    ]


def _rspec_code(rng: random.Random) -> list[str]:
    file = f"./spec/{name(rng)}/{name(rng)}_spec.rb"
    return [
        f"  {number(rng, 9)}) {camel(rng)}::{camel(rng)} when {name(rng)} is empty raises",
        f"     Failure/Error: subject.{snake(rng)}({name(rng)})",
        "",
        "     NoMethodError:",
        f"       undefined method `{snake(rng)}' for nil:NilClass",
        *(f"     # ./lib/{name(rng)}/{name(rng)}.rb:{number(rng)}:in `{snake(rng)}'" for _ in range(rng.randint(1, 4))),
        f"     # {file}:{number(rng)}:in `block (2 levels) in <top (required)>'",
    ]


def _csharp_inner(rng: random.Random) -> list[str]:
    def frames(count: int) -> list[str]:
        path = f"/src/{camel(rng)}/{camel(rng)}.cs"
        return [
            f"   at {camel(rng)}.{camel(rng)}.{call(rng)}({camel(rng)} {name(rng)}) in {path}:line {number(rng)}"
        ] * count

    return [
        f"  Failed {camel(rng)}.{camel(rng)}Tests.{call(rng)} [12 ms]",
        "  Error Message:",
        f"   System.AggregateException : One or more errors occurred. ({name(rng)} {number(rng)})",
        f"---- System.ArgumentNullException : Value cannot be null. (Parameter '{name(rng)}')",
        "  Stack Trace:",
        *(f"  {frame}" for frame in frames(rng.randint(1, 3))),
        "----- Inner Stack Trace -----",
        *frames(rng.randint(1, 4)),
    ]


def _cmake_stack(rng: random.Random) -> list[str]:
    return [
        f"CMake Error at /usr/share/cmake-3.22/Modules/{camel(rng)}.cmake:{number(rng)} (message):",
        f"  Could NOT find {camel(rng)} (missing: {name(rng).upper()}_LIBRARIES",
        f"  {name(rng).upper()}_INCLUDE_DIR)",
        "Call Stack (most recent call first):",
        f"  /usr/share/cmake-3.22/Modules/{camel(rng)}.cmake:{number(rng)} (_FPHSA_FAILURE_MESSAGE)",
        f"  cmake/{camel(rng)}.cmake:{number(rng)} (find_package_handle_standard_args)",
        f"  CMakeLists.txt:{number(rng)} (find_package)",
        "",
        "",
        "-- Configuring incomplete, errors occurred!",
        f'See also "/build/{name(rng)}/CMakeFiles/CMakeOutput.log".',
    ]


def _surefire(rng: random.Random) -> list[str]:
    test, method = f"com.{name(rng)}.{camel(rng)}Test", call(rng)
    count = number(rng)
    return [
        f"[ERROR] Tests run: {count}, Failures: 0, Errors: 1, Skipped: 0, Time elapsed: 0.4 s <<< FAILURE! - in {test}",
        f"[ERROR] {method}({test})  Time elapsed: 0.02 s  <<< ERROR!",
        f"java.lang.IllegalArgumentException: no {name(rng)} for {number(rng)}",
        *(
            f"\tat com.{name(rng)}.{camel(rng)}.{call(rng)}({camel(rng)}.java:{number(rng)})"
            for _ in range(rng.randint(1, 6))
        ),
        "",
        "[INFO] ",
        "[INFO] Results:",
        "[INFO] ",
        "[ERROR] Errors: ",
        f"[ERROR]   {camel(rng)}Test.{method}:{number(rng)} » IllegalArgument no {name(rng)}",
        "[INFO] ",
        f"[ERROR] Tests run: {count}, Failures: 0, Errors: 1, Skipped: 0",
    ]


def _make_chain(rng: random.Random) -> list[str]:
    target = f"{name(rng)}/CMakeFiles/{name(rng)}.dir"
    return [
        f"/usr/bin/ld: {target}/{name(rng)}.cpp.o: in function `{camel(rng)}::{call(rng)}()':",
        f"{name(rng)}.cpp:(.text+0x{number(rng)}): undefined reference to `{camel(rng)}::{call(rng)}(int)'",
        f"/usr/bin/ld: {name(rng)}.cpp:(.text+0x{number(rng)}): undefined reference to `{camel(rng)}::~{camel(rng)}()'",
        "collect2: error: ld returned 1 exit status",
        f"make[2]: *** [{target}/build.make:{number(rng)}: {name(rng)}] Error 1",
        f"make[1]: *** [CMakeFiles/Makefile2:{number(rng)}: {target}/all] Error 2",
        "make: *** [Makefile:101: all] Error 2",
    ]


LONG: Final[dict[str, Write]] = {
    "go panic": _go_panic,
    "go test": _go_test,
    "python chain": _python_chain,
    "java causes": _java_causes,
    "rust panic": _rust_panic,
    "rustc notes": _rustc_notes,
    "clang notes": _clang_notes,
    "jest code": _jest_code,
    "pytest section": _pytest_section,
    "rspec code": _rspec_code,
    "c# inner": _csharp_inner,
    "cmake stack": _cmake_stack,
    "surefire": _surefire,
    "make chain": _make_chain,
}
