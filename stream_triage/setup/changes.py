"""What a set-up changed in a server, or would change."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stream_triage.clients.search import ResponseError

__all__ = ["Changes", "digest"]


def digest(content: Any) -> str:
    """Returns a short hash, stored in what a set-up creates, by which a later set-up sees whether it is outdated."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Changes:
    """A list of changes in words. A part that fails or is skipped does not stop the others."""

    dry_run: bool = False
    done: list[str] = field(default_factory=list)
    """Changes that were made, or with `dry_run` would be."""
    skipped: list[str] = field(default_factory=list)
    """Parts that cannot be set up here: a plugin is not installed, an address is not set."""
    failed: list[str] = field(default_factory=list)

    def note(self, change: str) -> bool:
        """Notes a change; true if the caller is to make it, false in a dry run."""
        self.done.append(change)
        return not self.dry_run

    def skip(self, reason: str) -> None:
        """Notes a part that cannot be set up here."""
        self.skipped.append(reason)

    def fail(self, reason: str) -> None:
        """Notes a part that failed."""
        self.failed.append(reason)

    @contextmanager
    def optional(self, part: str, plugin: str) -> Iterator[None]:
        """Runs a part that needs a plugin of the server: skipped without the plugin, noted as failed on other errors."""
        try:
            yield
        except ResponseError as error:
            if "no handler found for uri" in str(error):
                self.skip(f"{part}: the plugin {plugin} is not installed in OpenSearch")
            else:
                self.fail(f"{part}: {error}")
