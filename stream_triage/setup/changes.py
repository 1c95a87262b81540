"""What a set-up changed in a server, or would change."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches

from stream_triage.clients.search import ResponseError

__all__ = ["ALL", "CONFLICT", "Changes"]

# The name that stands for every object in `Changes.reset`.
ALL = "all"
SIMILAR_NAMES = 3
CONFLICT = 409


@dataclass
class Changes:
    """A list of changes in words. A part that fails or is skipped does not stop the others."""

    dry_run: bool = False
    reset: frozenset[str] = frozenset()
    """Names of objects in which manual changes are replaced; `all` stands for every object."""
    done: list[str] = field(default_factory=list)
    """Changes that were made, or with `dry_run` would be."""
    details: dict[str, list[str]] = field(default_factory=dict)
    """What exactly differs, by the change of `done`."""
    kept: list[str] = field(default_factory=list)
    """What people changed and was left as it is."""
    skipped: list[str] = field(default_factory=list)
    """Parts that cannot be set up here: a plugin is not installed, an address is not set."""
    failed: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def note(self, change: str, details: Sequence[str] = ()) -> bool:
        """Notes a change; true if the caller is to make it, false in a dry run."""
        self.done.append(change)
        if details:
            self.details[change] = list(details)
        return not self.dry_run

    def keep(self, name: str, reasons: Iterable[str]) -> None:
        """Notes what people changed in an object and keep."""
        self.kept += [f"{name}: {reason}" for reason in reasons]

    def resets(self, *names: str) -> bool:
        """Whether manual changes of the object with these names are replaced."""
        self._names.update(names)
        return ALL in self.reset or not self.reset.isdisjoint(names)

    def check_reset(self) -> None:
        """Notes each name in `reset` that no object had as failed. To be called at the end."""
        known = {name.lower(): name for name in sorted(self._names)}
        for name in sorted(self.reset - self._names - {ALL}):
            similar = [known[each] for each in get_close_matches(name.lower(), known, SIMILAR_NAMES)]
            remedy = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "a line `kept: NAME: …` has the name"
            self.failed.append(f"--reset: nothing is called {name!r}; {remedy}")

    def skip(self, reason: str) -> None:
        """Notes a part that cannot be set up here."""
        self.skipped.append(reason)

    def fail(self, reason: str) -> None:
        """Notes a part that failed."""
        self.failed.append(reason)

    @contextmanager
    def optional(self, part: str, plugin: str, consequence: str = "") -> Iterator[None]:
        """Runs a part that needs a plugin of the server: skipped without the plugin, noted as failed on other errors.

        Args:
            part: Its name.
            plugin: The plugin.
            consequence: What follows where the plugin is missing.
        """
        try:
            yield
        except ResponseError as error:
            if "no handler found for uri" in str(error):
                words = f"; {consequence}" if consequence else ""
                self.skip(f"{part}: the plugin {plugin} is not installed in OpenSearch{words}")
            elif error.status == CONFLICT:
                self.fail(f"{part}: changed by someone at the same moment; repeat: {error}")
            else:
                self.fail(f"{part}: {error}")
