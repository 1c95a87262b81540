"""What set-ups install goes in; a copy of it, kept in OpenSearch until the next set-up, comes out.

With this copy the next set-up can tell what people changed since from what a new version of the product changes. Monitors
and saved objects have no place for it: Alerting and Dashboards drop or rewrite what they do not know. The copies are
documents of the index `<prefix>-setup`, one for each monitor, policy and saved object.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from stream_triage.clients.search import Document, ResponseError, SearchServer
from stream_triage.errors import StoreError

__all__ = ["Copy", "Installed"]

# Wildcards such as `triage-*` do not find a hidden index. Its documents are only read as a whole.
_INDEX: Final = {
    "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True}},
    "mappings": {"dynamic": False},
}
_MOST: Final = 10_000


class Copy(NamedTuple):
    """An object of an earlier set-up, by its parts."""

    sent: Mapping[str, Any]
    """As this product wanted it."""
    stored: Mapping[str, Any]
    """As the server returned it afterwards: some servers rewrite what they are sent."""
    id: str = ""
    """The name that the server gave the object; empty if it has the one that was asked for."""
    sending: tuple[str, ...] = ()
    """Parts that the last set-up was about to write. If it was aborted, nobody knows which version the server has."""


class Installed:
    """The copies, read with the first request for one. Each is written at once, so that an aborted set-up loses none."""

    def __init__(self, server: SearchServer, prefix: str) -> None:
        self._server = server
        self._index = f"{prefix}-setup"
        self._copies: dict[str, Copy] | None = None
        self._versions: dict[str, int] = {}

    def get(self, name: str) -> Copy | None:
        """Returns the copy of an object, or None if no set-up installed it."""
        return self._read().get(name)

    def put(self, copies: Mapping[str, Copy]) -> None:
        """Keeps copies of objects, by name, in place of those before."""
        known = self._read()
        if not self._versions:
            self._create()
        for name in copies:
            self._versions[name] = self._versions.get(name, 0) + 1
        documents = [
            Document.from_fields(self._index, name, self._versions[name], {"copy": json.dumps(copy._asdict())})
            for name, copy in copies.items()
        ]
        rejected = [response for response in self._server.bulk(documents) if not response.written]
        if rejected:
            raise StoreError(f"OpenSearch rejected the copy of what was set up: {rejected[0].reason}")
        known.update(copies)

    def _create(self) -> None:
        if not self._server.request("GET", f"{self._index}/_mapping"):
            try:
                self._server.request("PUT", self._index, _INDEX)
            except ResponseError as error:
                if "resource_already_exists" not in str(error):  # another set-up created it at the same moment
                    raise

    def _read(self) -> dict[str, Copy]:
        if self._copies is None:
            self._server.request("POST", f"{self._index}/_refresh")
            response = self._server.request("POST", f"{self._index}/_search", {"size": _MOST, "version": True})
            hits = response.get("hits", {}).get("hits", [])
            self._copies = {hit["_id"]: _read_copy(hit["_source"]["copy"]) for hit in hits}
            self._versions = {hit["_id"]: hit["_version"] for hit in hits}
        return self._copies


def _read_copy(text: str) -> Copy:
    content = json.loads(text)
    return Copy(**{**content, "sending": tuple(content.get("sending", ()))})
