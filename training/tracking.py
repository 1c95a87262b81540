"""Where figures of a training go: nowhere by default, to MLflow when asked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Tracker", "TrackingError", "tracking"]


class TrackingError(Exception):
    """Figures cannot be tracked as asked; the message names the remedy."""


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
    """A tracker for one training; `uri` is an MLflow store such as sqlite:///mlflow.db, or None for silence.

    Raises `TrackingError` where MLflow is not installed or cannot use the store.
    """
    if uri is None:
        yield _Silent()
        return
    try:
        import mlflow  # a second to import, and only here
    except ImportError:
        raise TrackingError(
            "MLflow is not installed; run `make setup-training` in a checkout, or leave out --track"
        ) from None
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(experiment)
    except mlflow.exceptions.MlflowException as error:
        reason = str(error).strip().split("\n")[0]
        raise TrackingError(f"MLflow cannot use the store {uri}: {reason}; name another with --track") from None
    with mlflow.start_run():
        yield _MLflow(mlflow)
