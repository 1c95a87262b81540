"""Settings and the templates of a bundle in; everything in OpenSearch that verdicts and their readers need out."""

from collections.abc import Iterable, Sequence

from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, SearchServer
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.importing import import_dashboards
from stream_triage.setup.indices import create_index_templates
from stream_triage.setup.installed import Installed
from stream_triage.setup.monitors import create_monitors
from stream_triage.setup.retention import create_retention

__all__ = ["set_up"]


def set_up(
    settings: OpenSearchSettings,
    bundle: tuple[str, str],
    templates: Sequence[tuple[str, str]],
    *,
    others: Sequence[tuple[tuple[str, str], Sequence[tuple[str, str]]]] = (),
    dry_run: bool = False,
    reset: Iterable[str] = (),
) -> Changes:
    """Creates or updates index templates, the list of templates, retention, monitors and dashboards.

    A second call changes nothing. What people changed in policies, monitors and dashboards stays.

    Args:
        settings: The cluster, and the address of Dashboards.
        bundle: Name and version of the bundle.
        templates: Key and text of each of its templates.
        others: The same of other bundles.
        dry_run: Only list the changes.
        reset: Names of policies, monitors and saved objects in which manual changes are replaced, or `all`.

    Raises:
        StoreError: The server does not respond, or was set up by a later version.
    """
    changes = Changes(dry_run, frozenset(reset))
    with OpenSearchClient(settings) as server:
        create_index_templates(server, settings.index_prefix, changes)
        for name_and_version, of_bundle in [(bundle, templates), *others]:
            _list_templates(server, settings.index_prefix, name_and_version, of_bundle, changes)
        installed = Installed(server, settings.index_prefix)
        create_retention(server, settings, changes, installed)
        create_monitors(server, settings, changes, installed)
        import_dashboards(settings, changes, installed)
    changes.check_reset()
    return changes


def _list_templates(
    server: SearchServer, prefix: str, bundle: tuple[str, str], templates: Sequence[tuple[str, str]], changes: Changes
) -> None:
    """Writes the templates of the bundle as documents, by whose keys people find the text of a template."""
    name, version = bundle
    known = [{"term": {"triage.bundle.name": name}}, {"term": {"triage.bundle.version": version}}]
    response = server.request("POST", f"{prefix}-templates/_count", {"query": {"bool": {"filter": known}}})
    if response.get("count", 0) >= len(templates):  # more if a bundle was built twice with one version
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
