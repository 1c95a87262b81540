"""One worker of a farm at a time, started again whenever it ends, as by systemd, and killed or terminated by the faults."""

import signal
import subprocess
import time
from dataclasses import dataclass

from tests.services.farm import Farm, Worker

__all__ = ["DEATH_SECONDS", "Exit", "Supervisor"]

# A worker that is to die at a step may never come to it; then it is killed all the same.
DEATH_SECONDS = 12.0
# The step between dead letters and the run log, which notes that there are dead letters.
BEFORE_LOG = "before run log"


@dataclass(frozen=True)
class Exit:
    """A worker that ended by itself: while which fault happened, with which status, and the end of its output."""

    kind: str
    status: int
    output: str


class Supervisor:
    """The worker of a farm; `kind` is the fault that happens."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.kind = ""
        self.exits: list[Exit] = []
        self.deaths_before_log = 0
        """How often a worker died when it may have written dead letters, but had not noted them in the run log."""
        self._worker: Worker | None = None
        self._step = ""

    @property
    def runs(self) -> bool:
        """Whether there is a worker."""
        return self._worker is not None and self._worker.code is None

    def start(self, step: str = "") -> None:
        """Kills the worker that runs, if one does, and starts another, which may die at a step of `dying_worker`."""
        self.kill()
        self._step = step
        self._worker = self.farm.start_worker(steps=step)

    def keep_running(self) -> None:
        """Starts a worker if there is none, or none any more."""
        self._note_exit()
        if self._worker is None:
            self.start()

    def kill(self) -> None:
        """SIGKILL to the worker that runs, if one does."""
        self._note_exit()
        if self._worker is not None:
            self._worker.kill()
        self._worker = None

    def wait_for_death(self) -> None:
        """Waits until the worker has died at its step; kills it if it does not come to it."""
        ends = time.monotonic() + DEATH_SECONDS
        while self.runs and time.monotonic() < ends:
            time.sleep(0.05)
        self.kill()

    def terminate(self, patience: float) -> tuple[int, float] | None:
        """SIGTERM to the worker; gives its status and the seconds it took, or None if none ran or it died at its step."""
        self._note_exit()
        worker, self._worker = self._worker, None
        if worker is None:
            return None
        began = time.monotonic()
        try:
            status = worker.stop(patience)
        except subprocess.TimeoutExpired:
            worker.kill()
            return -signal.SIGKILL, patience
        return None if self._step and status == -signal.SIGKILL else (status, time.monotonic() - began)

    def pause(self) -> None:
        """SIGSTOP."""
        if self._worker:
            self._worker.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._worker:
            self._worker.signal(signal.SIGCONT)

    def _note_exit(self) -> None:
        """Remembers a worker that has ended although nobody asked it to."""
        if self._worker is None or (status := self._worker.code) is None:
            return
        if self._step and status == -signal.SIGKILL:
            self.deaths_before_log += self._step.startswith(BEFORE_LOG)
        else:
            self.exits.append(Exit(self.kind, status, self._worker.text()[-600:]))
        self._worker = None
