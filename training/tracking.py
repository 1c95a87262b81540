"""Sends the parameters and metrics of a training to MLflow, or nowhere, which is the default."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from training.packages import REMEDY

__all__ = ["Tracker", "TrackingError", "tracking"]


class TrackingError(Exception):
    """The figures cannot be tracked as asked; the message names the remedy."""


class Tracker(Protocol):
    """Receives what one training logs."""

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Logs settings of the training, once each."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Logs figures, at a step (an epoch or a seed) if one is given."""


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
    """Yields a tracker for one training.

    Args:
        uri: An MLflow store such as sqlite:///mlflow.db, or None to log nothing.
        experiment: Name of the MLflow experiment that the run belongs to.

    Raises:
        TrackingError: MLflow is not installed or cannot use the store.
    """
    if uri is None:
        yield _Silent()
        return
    try:
        import mlflow  # takes a second to import
    except ImportError:
        raise TrackingError(f"MLflow is not installed; {REMEDY}, or leave --track out") from None
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(experiment)
    except mlflow.exceptions.MlflowException as error:
        reason = str(error).strip().split("\n")[0]
        raise TrackingError(f"MLflow cannot use the store {uri}: {reason}; name another with --track") from None
    with mlflow.start_run():
        yield _MLflow(mlflow)
