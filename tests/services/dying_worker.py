"""`stream-triage worker` that kills itself at a step; the first argument names the step and the call of it that is the last.

python -m tests.services.dying_worker "before run log:3" worker -c settings.toml
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from stream_triage import intake
from stream_triage.cli import main
from stream_triage.sinks.dead_letters import DeadLetterTopic
from stream_triage.sinks.jsonl import JsonlSink
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.sources import kafka
from stream_triage.worker import engine, removals

__all__ = ["STEPS"]

# By name: class and method, and whether it dies before the call or after it.
STEPS: dict[str, tuple[type[Any], str, bool]] = {
    "in a batch": (engine.Engine, "_take", False),
    "run ended": (intake.Intake, "_end", True),
    "verdict given": (intake.Intake, "_end", False),
    "before dead letters": (DeadLetterTopic, "flush", True),
    "before run log": (RunLogTopic, "flush", True),
    "after run log": (RunLogTopic, "flush", False),
    "after store": (SqliteStore, "flush", False),
    "after jsonl": (JsonlSink, "flush", False),
    "before opensearch": (OpenSearchSink, "flush", True),
    "between lines and verdict": (OpenSearchSink, "_put", False),
    "after opensearch": (OpenSearchSink, "flush", False),
    "after verdict topic": (VerdictTopic, "flush", False),
    "before a part": (engine.Engine, "_flush_part", True),
    "after a part": (engine.Engine, "_flush_part", False),
    "before marks": (removals.Removals, "finish", True),
    "marks read": (removals.Removals, "_read_marks", False),
    "run removed": (intake.Intake, "forget", False),
    "all durable": (engine.Engine, "flush", False),
    "run log read": (RunLogTopic, "read", False),
    "before commit": (kafka._ConsumerThread, "_commit", True),
    "after commit": (kafka._ConsumerThread, "_commit", False),
}


def die_at(step: str, call: int) -> None:
    where, method, before = STEPS[step]
    original: Callable[..., Any] = getattr(where, method)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)

    async def later(*arguments: Any, **named: Any) -> Any:
        if before:
            count()
        result = await original(*arguments, **named)
        if not before:
            count()
        return result

    def dying(*arguments: Any, **named: Any) -> Any:
        if before:
            count()
        result = original(*arguments, **named)
        if not before:
            count()
        return result

    setattr(where, method, later if method == "_commit" else dying)


if __name__ == "__main__":
    name, _, number = sys.argv.pop(1).rpartition(":")
    die_at(name, int(number))
    main()
