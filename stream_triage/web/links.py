"""A stored run in; the addresses that its page leads to out."""

from collections.abc import Sequence
from dataclasses import dataclass

from stream_triage.web.query import address

__all__ = ["ServerLinks"]

_FILTERS = {
    "label": "label",
    "cause": "cause",
    "team": "team",
    "test.case.name": "case",
    "testbed": "bed",
    "service.version": "build",
}


@dataclass(frozen=True)
class ServerLinks:
    """Addresses for the page of one run; `RunLinks` says what each is."""

    run_id: str
    archived: bool
    """Whether the archive has the text of the run."""
    ues_told: bool
    """Whether its UEs can be followed through that text."""

    def run(self, run_id: str) -> str:
        """The page of a run."""
        return address("/run", {"id": run_id})

    def filtered(self, name: str, value: str) -> str | None:
        """The runs with the same value."""
        return address("/runs", {_FILTERS[name]: value}) if name in _FILTERS else None

    def lines(self, source: str, show: tuple[int, int], gap: tuple[int, int]) -> str | None:
        """Lines of a gap."""
        if not self.archived:
            return None
        spans = {"show": f"{show[0]}-{show[1]}", "gap": f"{gap[0]}-{gap[1]}"}
        return address("/run/lines", {"id": self.run_id, "source": source, **spans})

    def ues(self) -> str | None:
        """The timeline of UEs."""
        return address("/run/ues", {"id": self.run_id}) if self.archived and self.ues_told else None

    def downloads(self) -> Sequence[tuple[str, str]]:
        """What can be saved."""
        about = {"id": self.run_id}
        found = [
            ("Verdict (JSON)", address("/run/verdict.json", about)),
            ("Reduced text", address("/run/reduced.txt", about)),
        ]
        return [*found, ("Full text", address("/run/full.txt", about))] if self.archived else found
