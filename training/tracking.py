"""Where figures of a training go: nowhere by default, to MLflow when asked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Tracker", "tracking"]


class Tracker(Protocol):
    def parameters(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...


class _Silent:
    def parameters(self, values: Mapping[str, Any]) -> None:
        pass

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        pass


class _MLflow:
    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def parameters(self, values: Mapping[str, Any]) -> None:
        self._mlflow.log_params(dict(values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self._mlflow.log_metrics(dict(values), step=step)


@contextmanager
def tracking(uri: str | None, experiment: str) -> Iterator[Tracker]:
    """A tracker for one training; `uri` is an MLflow store such as sqlite:///mlflow.db, or None for silence."""
    if uri is None:
        yield _Silent()
        return
    import mlflow  # a second to import, and only here

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    with mlflow.start_run():
        yield _MLflow(mlflow)
