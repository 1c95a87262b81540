"""`stream-triage worker` on a machine whose clock is set an hour forward and back again, each second.

python -m tests.services.jumping_worker worker -c settings.toml
"""

import time

from stream_triage.cli import main

__all__: list[str] = []

JUMP_SECONDS = 3600.0


if __name__ == "__main__":
    right = time.time
    time.time = lambda: (now := right()) + JUMP_SECONDS * (int(now) % 3 - 1)
    main()
