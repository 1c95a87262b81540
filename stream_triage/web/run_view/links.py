"""What a page of one run may link to. A report has no server, and so no links but those within itself."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["RunLinks"]


class RunLinks(Protocol):
    """Addresses that a server gives to a run's page; each is complete and safe to stand in an attribute."""

    def run(self, run_id: str) -> str:
        """The page of another run."""

    def filtered(self, name: str, value: str) -> str | None:
        """The runs with this value of `label`, `cause`, `team`, `bundle` or a header; none if there is no such list."""

    def lines(self, source: str, show: tuple[int, int], gap: tuple[int, int]) -> str | None:
        """What replaces a gap when some of its lines are opened (`gap_rows`); none if the text of the run is not archived.

        Args:
            source: Whose lines they are.
            show: First and last line to show.
            gap: First and last line of the whole gap; what is not shown of it stays a gap.
        """

    def ues(self) -> str | None:
        """What replaces the place of the UE timeline, which takes longer than the page; none if there is nothing to show."""

    def downloads(self) -> Sequence[tuple[str, str]]:
        """What can be saved: words and address, such as `("verdict as JSON", "/runs/…/verdict.json")`."""
