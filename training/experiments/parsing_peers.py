"""Runs other template miners (drain3, and Brain and Drain of logparser3) for comparison, each in a process of its own."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run_peer"]

# drain3 with its default settings (similarity .4, depth 4). A line gets the template that its cluster has in the end. The
# masks are those of the example in its README: ids joined by colons, IPv4 addresses, hex and decimal numbers. It runs as a
# program of its own because only stages/template.py may import drain3.
_DRAIN3_PROGRAM = r"""
import json, re, sys, time
from drain3.drain import Drain
masks = [(re.compile(r"(?<![A-Za-z0-9])" + pattern + r"(?![A-Za-z0-9])"), name) for pattern, name in (
    (r"(?:[0-9a-f]{2,}:){3,}[0-9a-f]{2,}", "<id>"), (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", "<ip>"),
    (r"0x[a-f0-9A-F]+", "<hex>"), (r"[-+]?\d+", "<num>"))]
_, generic, systems = json.load(sys.stdin)
answers = {}
for system, lines in systems.items():
    started = time.perf_counter()
    drain = Drain()
    clusters = []
    for line in lines:
        for pattern, name in masks if generic else ():
            line = pattern.sub(name, line)
        clusters.append(drain.add_log_message(line)[0])
    answers[system] = ([cluster.get_template() for cluster in clusters], time.perf_counter() - started)
print(json.dumps(answers))
"""

# Runs in the environment of the peers. logparser3 has the settings of its published numbers in benchmark.py, which runs the
# whole benchmark when it is imported, so the settings are read from its syntax tree. The input is the content of each line
# without its header, so that all parsers see the same text.
_LOGPARSER_PROGRAM = r"""
import ast, contextlib, importlib, io, json, os, sys, tempfile, time, warnings
warnings.simplefilter("ignore")
import pandas, logparser
name, generic, systems = json.load(sys.stdin)
source = open(os.path.join(list(logparser.__path__)[0], name, "benchmark.py")).read()
table = next(ast.literal_eval(node.value) for node in ast.parse(source).body
             if isinstance(node, ast.Assign) and node.targets[0].id == "benchmark_settings")
module = importlib.import_module("logparser." + name)
answers = {}
for system, lines in systems.items():
    known = table[system.partition(" ")[0]]
    setting = {"regex": [r"(\d+\.){3}\d+(:\d+)?", r"0x[0-9a-fA-F]+", r"\b-?\d+\b"], "delimiter": [], "theshold": 4,
               "st": 0.5, "depth": 4} if generic else known
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        with open(os.path.join(folder, "in.log"), "w", encoding="utf-8") as file:
            file.write("".join(line.replace("\n", " ") + "\n" for line in lines))
        common = dict(log_format="<Content>", indir=folder, outdir=folder, rex=setting["regex"])
        if name == "Brain":
            parser = module.LogParser(logname="generic" if generic else system.partition(" ")[0],
                                      delimeter=setting["delimiter"], threshold=setting["theshold"], **common)
        else:
            parser = module.LogParser(depth=setting["depth"], st=setting["st"], **common)
        started = time.perf_counter()
        parser.parse("in.log")
        seconds = time.perf_counter() - started
        out = next(f for f in os.listdir(folder) if f.endswith("_structured.csv"))
        parsed = pandas.read_csv(os.path.join(folder, out), keep_default_na=False)["EventTemplate"].astype(str).tolist()
    answers[system] = (parsed, seconds)
print(json.dumps(answers))
"""


def run_peer(
    python: Path, name: str, *, generic: bool, systems: Mapping[str, Sequence[str]]
) -> dict[str, tuple[list[str], float]]:
    """Runs one peer on all systems, in a process of its own.

    Args:
        python: Interpreter of an environment where the peer is installed.
        name: "drain3", or "Brain" or "Drain" of logparser3.
        generic: Whether one setting is used for all systems (for drain3: with its example masks), instead of the settings
            that the peer publishes for each system.
        systems: The lines of each system, by name.

    Returns:
        For each system, the template of each line, and the seconds it took.

    Raises:
        SystemExit: The peer did not run; the message names the remedy.
    """
    program = _DRAIN3_PROGRAM if name == "drain3" else _LOGPARSER_PROGRAM
    question = json.dumps([name, generic, dict(systems)])
    done = subprocess.run([python, "-c", program], input=question, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise SystemExit(
            f"{name} did not run under {python}: {last[0]}\n"
            "Make an environment with the packages of requirements/peers.txt and name its interpreter with --peers-python."
        )
    answers: dict[str, tuple[list[str], float]] = json.loads(done.stdout)
    return answers
