"""All that an OpenSearch needs before verdicts are written, and what shows them to people (docs/operations.md)."""

from collections.abc import Sequence

from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, SearchServer
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.dashboards import make_dashboards
from stream_triage.setup.indices import make_index_templates
from stream_triage.setup.monitors import make_monitors
from stream_triage.setup.retention import make_retention

__all__ = ["set_up"]


def set_up(
    settings: OpenSearchSettings, bundle: tuple[str, str], templates: Sequence[tuple[str, str]], *, dry_run: bool = False
) -> Changes:
    """Index templates, the bundle's templates as documents, retention, monitors, dashboards; nothing twice.

    Raises `StoreError` where the server cannot be asked, or has what belongs to a later version.
    """
    changes = Changes(dry_run)
    with OpenSearchClient(settings) as server:
        make_index_templates(server, settings.index_prefix, changes)
        _list_templates(server, settings.index_prefix, bundle, templates, changes)
        make_retention(server, settings, changes)
        make_monitors(server, settings, changes)
    make_dashboards(settings, changes)
    return changes


def _list_templates(
    server: SearchServer, prefix: str, bundle: tuple[str, str], templates: Sequence[tuple[str, str]], changes: Changes
) -> None:
    name, version = bundle
    known = [{"term": {"triage.bundle.name": name}}, {"term": {"triage.bundle.version": version}}]
    counted = server.request("POST", f"{prefix}-templates/_count", {"query": {"bool": {"filter": known}}})
    if counted.get("count", 0) == len(templates):
        return
    if changes.note(f"write {len(templates)} templates of bundle {name} {version} to {prefix}-templates"):
        about = {"name": name, "version": version}
        documents = [
            Document.from_fields(f"{prefix}-templates", f"{name}-{version}-{key}", 1,
                          {"message": template, "triage": {"key": key, "bundle": about}})
            for key, template in templates
        ]  # fmt: skip
        wrong = [answer for answer in server.bulk(documents) if not answer.written]
        server.request("POST", f"{prefix}-templates/_refresh")
        if wrong:
            raise StoreError(f"OpenSearch does not take {len(wrong)} templates: {wrong[0].reason}")
