"""The interface of an OpenSearch cluster, which `OpenSearchClient` and `MemorySearchServer` implement."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from stream_triage.errors import StoreError

__all__ = ["TOO_LARGE", "Document", "Response", "ResponseError", "SearchServer", "bulk_body"]

TOO_LARGE = 413
MAX_REASON_CHARACTERS = 500


class ResponseError(StoreError):
    """A request failed.

    Attributes:
        status: HTTP status of the response, or 0 if none was received.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def busy(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (0, 429) or self.status >= 500

    @property
    def temporary(self) -> bool:
        """Whether the server is away or too busy."""
        return self.busy


@dataclass(frozen=True, slots=True)
class Document:
    """A document to index. The server ignores it if it has the same or a higher version of the document already."""

    index: str
    id: str
    version: int
    body: bytes
    run_id: str = ""

    @property
    def origin(self) -> str:
        """Index, id and version, as dead letters name a document."""
        return f"{self.index}/{self.id}/{self.version}"

    @classmethod
    def from_fields(cls, index: str, name: str, version: int, fields: Mapping[str, Any], run_id: str = "") -> Self:
        """Serialises `fields` to JSON. Lone surrogates, as damaged names contain them, are escaped: UTF-8 has none."""
        return cls(index, name, version, json.dumps(fields).encode(), run_id)

    @classmethod
    def from_origin(cls, origin: str, body: bytes) -> "Document | None":
        """The document that an `origin` names; None if it names none.

        >>> Document.from_origin("triage-verdicts-2026.11/night/1/201", b"{}").id
        'night/1'
        """
        index, _, rest = origin.partition("/")
        name, _, version = rest.rpartition("/")
        return cls(index, name, int(version), body) if index and name and version.isdecimal() else None


class Response(NamedTuple):
    """The server's response to one document of a bulk request."""

    status: int
    """HTTP status."""
    reason: str
    """Type and reason of the error; empty if there was none."""

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Reads an entry of `items` in the JSON of a bulk response. Raises `KeyError` and the like for anything else."""
        (result,) = item.values()
        error = result.get("error") or {}
        cause = error.get("caused_by") or {}
        reason = ": ".join(str(part) for part in (error.get("type"), error.get("reason"), cause.get("reason")) if part)
        return cls(int(result["status"]), reason[:MAX_REASON_CHARACTERS])

    @property
    def written(self) -> bool:
        """Whether the document is stored in this version or a higher one. A conflict (409) means that it was before."""
        return self.status < 300 or self.status == 409

    @property
    def busy(self) -> bool:
        """Whether the document may be written by a later attempt."""
        return self.status == 429 or self.status >= 500

    @property
    def rejected(self) -> bool:
        """Whether the document itself is at fault and no attempt can succeed.

        A missing right, a blocked index or a full cluster (also status 400: `validation_exception`) is not its fault.
        """
        return self.status in (400, TOO_LARGE) and not self.reason.startswith("validation_exception")


class SearchServer(Protocol):
    """Indices of documents. One request at a time."""

    def bulk(self, documents: Sequence[Document]) -> list[Response]:
        """Writes documents; returns one response for each, in order. Raises `StoreError` if none was received."""

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Sends one request and returns the JSON of the response; empty if what was asked for does not exist (404).

        Names of headers are in small letters, so that they replace those of the client.

        Raises:
            ResponseError: The server did not respond, or with another status of 300 and above.
            StoreError: The response was not JSON.
        """

    def close(self) -> None:
        """Closes the connections."""


def bulk_body(documents: Sequence[Document]) -> bytes:
    """The body of a bulk request: for each document a line with the action and a line with its fields."""
    return b"".join(_action(document) + b"\n" + document.body + b"\n" for document in documents)


def _action(document: Document) -> bytes:
    # With external versions the server compares versions itself, also across processes.
    about = {"_index": document.index, "_id": document.id, "version": document.version, "version_type": "external"}
    return json.dumps({"index": about}).encode()
