"""The sinks and topics of an episode go in, when it is over; verdicts, texts and dead letters come out, by sink."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from stream_triage.errors import RunNotFound
from stream_triage.records import Record, Verdict
from stream_triage.settings import ArchiveSettings
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.dead_letters import as_letter
from stream_triage.worker.ceilings import MESSAGES_HEADER
from tests.services.farm import Farm

__all__ = ["Letter", "Outcome"]


class Letter(NamedTuple):
    """A dead letter. Two of the same name are copies: of the same message, after the same number of replays."""

    name: str
    reason: str
    key: str
    text: str
    summed_up: int
    """How many messages it stands for, if it is a summary of more messages than `kafka.dead_per_hour`; else 0."""

    @classmethod
    def of(cls, record: Record) -> "Letter":
        letter = as_letter(record)
        name = f"{letter.kind} {letter.name}"
        key, text = ((part or b"").decode(errors="replace") for part in (letter.key, letter.value))
        return cls(name, letter.reason, key, text, int(dict(letter.headers).get(MESSAGES_HEADER) or 0))


class Outcome:
    """Everything that the sinks have, read once."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.store = farm.stored()
        self.documents = list(_documents(farm))
        self.topics = {
            name: farm.read(topic)
            for name, topic in (
                ("topic of verdicts", farm.kafka.verdicts_topic),
                ("topic of provisional verdicts", farm.kafka.provisional_topic),
                ("run log", farm.kafka.runs_topic),
            )
        }
        self.letters = [Letter.of(record) for record in farm.read(farm.kafka.dead_topic)]
        self.verdicts: dict[str, dict[str, list[Verdict]]] = {
            "store": {run: [verdict] for run, verdict in self.store.items()},
            "jsonl": farm.jsonl_verdicts(),
            "topic of verdicts": farm.topic_verdicts(),
            "opensearch": farm.indexed(),
        }
        self.texts = {run_id: text for run_id in self.store if (text := self._archived(run_id)) is not None}

    def _archived(self, run_id: str) -> str | None:
        archive = TextArchive(ArchiveSettings(folder=self.farm.folder / "archive"))
        try:
            with archive.open(run_id) as file:
                sources = {source: file.read(source, 1, file.line_count(source)) for source in file.sources()}
        except RunNotFound:
            return None
        return "\n".join(line for lines in sources.values() for line in lines)

    def everything_visible(self) -> Iterator[tuple[str, str]]:
        """The name and the text of each place that people may read who must not see secrets: all but the dead letters."""
        yield from ((f"store, {run}", verdict.model_dump_json()) for run, verdict in self.store.items())
        yield from ((f"archive, {run}", text) for run, text in self.texts.items())
        yield "jsonl", self.farm.jsonl_path.read_text(errors="replace") if self.farm.jsonl_path.exists() else ""
        for name, records in self.topics.items():
            yield name, "\n".join(_readable(record) for record in records)
        for document in self.documents:
            yield f"index {document['_index']}", json.dumps(document, ensure_ascii=False)
        for log in sorted(self.farm.log_folder.glob("worker-*.log")):
            yield "output of a worker", log.read_text(errors="replace")


def _readable(record: Any) -> str:
    parts = [record.key, record.value, *(value for _, value in record.headers)]
    return " ".join((part or b"").decode(errors="replace") for part in parts)


def _documents(farm: Farm) -> Iterator[dict[str, Any]]:
    """All documents in all indices of the farm."""
    search, index = farm.search, f"{farm.kafka.group}-*"
    if search is None:
        return
    search.ask(f"{index}/_refresh", method="POST")
    page: Any = search.ask(f"{index}/_search?scroll=1m", {"size": 1000, "sort": ["_doc"]})
    while hits := page["hits"]["hits"]:
        yield from hits
        page = search.ask("_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
    search.ask("_search/scroll", {"scroll_id": [page["_scroll_id"]]}, "DELETE")
