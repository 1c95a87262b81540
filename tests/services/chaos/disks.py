"""The disk with the store, the archive and the JSON lines is full for a while."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.services.chaos.registry import fault
from tests.services.chaos.world import World

__all__ = ["mounted"]

SIZE = "256m"


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[bool]:
    """Makes a folder a small file system in memory; gives False where this needs rights that we do not have."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@fault("disk-full", 22, "a full disk stops verdicts until there is space again, and loses none")
def disk_full(world: World) -> None:
    """Fills the disk, lets runs end, perhaps kills the worker or starts one on the full disk, and makes space again."""
    if not world.disk.is_mount():
        world.broke("failed", "the disk cannot be filled: mounting a small file system needs root")
        return
    dies, starts_full, step = world.rng.random() < 0.4, world.rng.random() < 0.3, world.a_step()
    seconds = world.rng.uniform(1, 5)
    run = world.new_run(lines=60)
    world.need_worker(dying=0)
    with _filled(world.disk / "ballast"):
        world.send_run(run)
        world.traffic()
        if dies:
            world.kill_at(step)
        if starts_full:
            world.worker.start()
        time.sleep(seconds)
    world.need_worker(dying=0)
    world.wait_for(run.run_id)


@contextlib.contextmanager
def _filled(ballast: Path) -> Iterator[None]:
    """A file system without a free byte."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while os.write(file.fileno(), b"\0" * size):
                    pass
    try:
        yield
    finally:
        ballast.unlink()
