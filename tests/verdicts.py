"""Verdicts for tests."""

from typing import Any

import pytest

from stream_triage.records import ReducedLine, SourceSummary, Verdict

__all__ = ["assert_same", "kept", "make_verdict"]


def make_verdict(run_id: str = "runs/a.log-0123abcd", **changes: Any) -> Verdict:
    """A final, clean pass of ten lines, but for the changes."""
    fields: dict[str, Any] = {
        "run_id": run_id,
        "version": 201,
        "final": True,
        "label": "Pass",
        "passed": True,
        "confidence": 0.9,
        "probabilities": {"Pass": 0.9, "L2": 0.1},
        "needs_review": False,
        "anomaly_score": 0.1,
        "anomalous": False,
        "sources": (SourceSummary(source="", lines=10, bytes=100, known_lines=9, folded_lines=8),),
        "bundle": "tiny",
        "bundle_version": "1",
    }
    return Verdict(**{**fields, **changes})


def kept(*texts: str, source: str = "") -> tuple[ReducedLine, ...]:
    """Lines of a reduction, numbered from 1."""
    return tuple(ReducedLine(source=source, number=number, text=text, why="rare") for number, text in enumerate(texts, 1))


def assert_same(one: Verdict, other: Verdict) -> None:
    """Fails unless the verdicts are the same: numbers within 1e-5, everything else equal. How often parts came is not."""
    _assert_alike(_once(one).model_dump(), _once(other).model_dump(), "verdict")


def _once(verdict: Verdict) -> Verdict:
    """The verdict as if nothing had come twice."""
    once = {"repeated_messages": 0, "repeated_bytes": 0, "notes": ()}
    sources = [source.model_copy(update={"repairs": source.repairs.model_copy(update=once)}) for source in verdict.sources]
    return verdict.model_copy(update={"sources": tuple(sources)})


def _assert_alike(one: Any, other: Any, path: str) -> None:
    if isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            _assert_alike(value, other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other, strict=True)):
            _assert_alike(*pair, f"{path}[{i}]")
    else:
        assert one == other, path
