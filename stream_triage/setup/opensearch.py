"""Settings and the templates of a bundle in; everything in OpenSearch that verdicts and their readers need out."""

from collections.abc import Sequence

from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, SearchServer
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.indices import create_index_templates
from stream_triage.setup.monitors import create_monitors
from stream_triage.setup.retention import create_retention
from stream_triage.setup.saved_objects import import_dashboards

__all__ = ["set_up"]


def set_up(
    settings: OpenSearchSettings, bundle: tuple[str, str], templates: Sequence[tuple[str, str]], *, dry_run: bool = False
) -> Changes:
    """Creates or updates index templates, the list of templates, retention, monitors and dashboards.

    A second call changes nothing.

    Args:
        settings: The cluster, and the address of Dashboards.
        bundle: Name and version of the bundle.
        templates: Key and text of each of its templates.
        dry_run: Only list the changes.

    Raises:
        StoreError: The server does not respond, or was set up by a later version.
    """
    changes = Changes(dry_run)
    with OpenSearchClient(settings) as server:
        create_index_templates(server, settings.index_prefix, changes)
        _list_templates(server, settings.index_prefix, bundle, templates, changes)
        create_retention(server, settings, changes)
        create_monitors(server, settings, changes)
    import_dashboards(settings, changes)
    return changes


def _list_templates(
    server: SearchServer, prefix: str, bundle: tuple[str, str], templates: Sequence[tuple[str, str]], changes: Changes
) -> None:
    """Writes the templates of the bundle as documents, by whose keys people find the text of a template."""
    name, version = bundle
    known = [{"term": {"triage.bundle.name": name}}, {"term": {"triage.bundle.version": version}}]
    response = server.request("POST", f"{prefix}-templates/_count", {"query": {"bool": {"filter": known}}})
    if response.get("count", 0) == len(templates):
        return
    if changes.note(f"write {len(templates)} templates of bundle {name} {version} to {prefix}-templates"):
        about = {"name": name, "version": version}
        documents = [
            Document.from_fields(f"{prefix}-templates", f"{name}-{version}-{key}", 1,
                          {"message": template, "triage": {"key": key, "bundle": about}})
            for key, template in templates
        ]  # fmt: skip
        rejected = [response for response in server.bulk(documents) if not response.written]
        server.request("POST", f"{prefix}-templates/_refresh")
        if rejected:
            raise StoreError(f"OpenSearch rejected {len(rejected)} templates: {rejected[0].reason}")
