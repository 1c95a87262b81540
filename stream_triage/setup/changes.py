"""What a set-up did, or would do."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stream_triage.clients.search import ResponseError

__all__ = ["Changes", "digest"]


def digest(content: Any) -> str:
    """By which a later set-up knows what an earlier one made."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Changes:
    """Each in words. What could not be done does not keep the rest from being done."""

    dry_run: bool = False
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What is not there to be set up: a plugin that is missing, an address that is not set."""
    failed: list[str] = field(default_factory=list)

    def note(self, change: str) -> bool:
        """Whether to do it."""
        self.done.append(change)
        return not self.dry_run

    def skip(self, reason: str) -> None:
        self.skipped.append(reason)

    def fail(self, reason: str) -> None:
        self.failed.append(reason)

    @contextmanager
    def optional(self, what: str, plugin: str) -> Iterator[None]:
        """A part that needs a plugin of the server; the rest is set up without it."""
        try:
            yield
        except ResponseError as error:
            if "no handler found for uri" in str(error):
                self.skip(f"{what}: the plugin {plugin} is not installed in OpenSearch")
            else:
                self.fail(f"{what}: {error}")
