"""Start-up: what is imported when, and what must be set before numpy is loaded."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import stream_triage
from stream_triage.cli import app
from tests.corpus import whole_run

# What version and help must not load: it takes most of the time of a command.
HEAVY = {
    "aiokafka", "apprise", "charset_normalizer", "drain3", "faust", "jinja2", "numpy", "onnxruntime", "opensearchpy",
    "pydantic_settings", "rich", "starlette", "uvicorn", "wcmatch", "zstandard",
}  # fmt: skip
OWN = {f"stream_triage.{name}" for name in ("bundle", "pipeline", "records", "settings", "wiring")}
INIT = Path(stream_triage.__file__)


def loaded(code: str) -> set[str]:
    """Names of the modules that a new Python process has loaded after it ran the code."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr))


def command_line(*arguments: str) -> str:
    """Code that runs a command in the process."""
    return (
        f"import sys; sys.argv = {['stream-triage', *arguments]!r}\nfrom stream_triage.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code"
    )


def all_commands() -> list[list[str]]:
    """Every command and group, as the words that name it."""
    found = [[]]
    for name, command in typer.main.get_command(app).commands.items():
        found += [[name], *([name, below] for below in getattr(command, "commands", {}))]
    return found


def test_version_loads_no_heavy_library() -> None:
    assert not (HEAVY | OWN) & loaded(command_line("--version"))


def test_help_loads_no_heavy_library() -> None:
    """Neither does the help of any command. All are asked in one process, which is stricter and takes a second."""
    code = "\n".join(command_line(*words, "--help") for words in all_commands())
    assert not (HEAVY | OWN) & loaded(code)


def test_import_of_the_package_loads_nothing_else_of_it() -> None:
    """The exported names are imported when they are used."""
    assert {name for name in loaded("import stream_triage") if name.startswith("stream_triage")} == {"stream_triage"}


def test_bundle_without_networks_does_not_load_onnxruntime() -> None:
    code = "from stream_triage import *\nTriage(Bundle.open(find_bundle('tm500'))).run(b'C: CONNECT 0x00 ok', 'a')"
    assert "onnxruntime" not in loaded(code)


class TestExports:
    def test_names_are_sorted_and_complete(self) -> None:
        """`__all__`, the imports for type checkers and the table of the lazy imports name the same."""
        assert stream_triage.__all__ == sorted(stream_triage.__all__)
        (checked,) = (node for node in ast.parse(INIT.read_text()).body if isinstance(node, ast.If) and not node.orelse
                      and isinstance(node.test, ast.Name))  # fmt: skip
        imported = {alias.name: node.module for node in checked.body for alias in node.names}
        assert {name: f"stream_triage.{module}" for name, module in stream_triage._MODULES.items()} == imported
        assert set(stream_triage.__all__) == {*imported, "__version__"}

    @pytest.mark.parametrize("name", stream_triage.__all__)
    def test_name_is_there(self, name: str) -> None:
        """As an attribute, in `dir` and for `from stream_triage import`; it comes from the module that defines it."""
        scope: dict[str, object] = {}
        exec(f"from stream_triage import {name}", scope)
        assert scope[name] is getattr(stream_triage, name)
        assert name in dir(stream_triage)
        if name != "__version__":
            assert scope[name].__module__.startswith(f"stream_triage.{stream_triage._MODULES[name]}")

    def test_star_import(self) -> None:
        scope: dict[str, object] = {}
        exec("from stream_triage import *", scope)
        assert set(stream_triage.__all__) <= set(scope)

    def test_other_names_are_refused(self) -> None:
        """With the error of any other module, so that `hasattr` and imports of modules work."""
        with pytest.raises(AttributeError, match=r"module 'stream_triage' has no attribute 'Sesion'"):
            stream_triage.Sesion  # noqa: B018
        with pytest.raises(ImportError, match="cannot import name 'Sesion'"):
            from stream_triage import Sesion  # noqa: F401


class TestThreads:
    def threads(self, folder: Path, bundle: Path, **variables: str) -> int:
        """Threads of a process after `run`, with numpy loaded; only these variables limit them."""
        limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS")
        environment = {name: value for name, value in os.environ.items() if name not in limits} | variables
        (folder / "a.log").write_bytes(whole_run())
        code = command_line("run", str(folder / "a.log"), "--no-store", "--quiet", "--bundle", str(bundle))
        code += "\nimport os\nassert 'numpy' in sys.modules\nprint(len(os.listdir('/proc/self/task')), file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return int(done.stderr)

    def test_commands_use_one_thread(self, tmp_path: Path, bundle_path: Path) -> None:
        """The limit is set before numpy is loaded, which is when it starts its threads."""
        assert self.threads(tmp_path, bundle_path) == 1

    @pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="numpy starts no second thread on one CPU")
    def test_own_limit_counts(self, tmp_path: Path, bundle_path: Path) -> None:
        """A number of threads that the user sets is used."""
        assert self.threads(tmp_path, bundle_path, OMP_NUM_THREADS="2") > 1
