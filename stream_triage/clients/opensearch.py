"""An OpenSearch cluster over HTTP: documents and requests in, responses out.

The only module that imports opensearch-py. Errors are raised as `StoreError` with the remedy, and contain no password.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from stream_triage.clients.search import TOO_LARGE, Document, Response, ResponseError, bulk_body
from stream_triage.errors import ServerAway, SettingsError, StoreError
from stream_triage.settings import OpenSearchSettings

__all__ = ["OpenSearchClient"]

# Size of one bulk request. Clusters reject requests above 100 MB, and a small request is repeated sooner.
BULK_BYTES = 5 << 20
BULK_DOCUMENTS = 2000
# How the security plugin names a missing right; the user's name and roles follow it.
_MISSING_RIGHT = re.compile(r"no permissions for \[([\w:/*, -]+)")
# The library logs a warning for each request that fails, also where a 404 is the expected answer. What matters is raised.
logging.getLogger("opensearch").setLevel(logging.ERROR)
_PROXY = "or that the server is OpenSearch and not a proxy"
_MAX_MESSAGE_CHARACTERS = 500


class OpenSearchClient:
    """A `SearchServer` that connects with its first request.

    Raises:
        SettingsError: opensearch-py is not installed, or the settings cannot work.
    """

    def __init__(self, settings: OpenSearchSettings) -> None:
        try:
            import opensearchpy
        except ImportError:
            raise SettingsError("OpenSearch needs the extra: pip install 'stream-triage[opensearch]'") from None
        if any("@" in host for host in settings.hosts):
            raise SettingsError(
                "opensearch.hosts contains a user or password; set opensearch.user and opensearch.password instead"
            )
        self._errors = opensearchpy.exceptions
        self._name = ", ".join(settings.hosts)
        try:
            self._client = opensearchpy.OpenSearch(
                list(settings.hosts), timeout=settings.timeout_seconds, max_retries=0, **_options(settings)
            )
        except (OSError, ValueError, self._errors.ImproperlyConfigured) as error:
            raise SettingsError(f"opensearch settings cannot be used: {error}") from None

    def bulk(self, documents: Sequence[Document]) -> list[Response]:
        """Writes documents in requests of at most 5 MB and 2,000 documents; returns one response for each, in order."""
        responses: list[Response] = []
        for part in _parts(documents):
            responses += self._bulk(part)
        return responses

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Sends one request and returns the JSON of the response; empty for status 404."""
        with self._raising("does not respond as expected"):
            try:
                content = self._client.transport.perform_request(method, f"/{path}", body=body, headers=headers)
            except self._errors.NotFoundError:
                return {}
            if not isinstance(content, dict):
                raise ServerAway(f"OpenSearch at {self._name} did not respond with a JSON object; check {_PROXY}")
            return content
        raise AssertionError

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bulk(self, documents: Sequence[Document]) -> list[Response]:
        try:
            with self._raising("does not take documents"):
                content = self._client.bulk(body=bulk_body(documents).decode())
        except ResponseError as error:
            # Status 0 is raised: nothing is known about the documents.
            if error.status == TOO_LARGE and len(documents) > 1:
                half = len(documents) // 2  # a proxy in front of the server may have a lower limit than the server
                return self._bulk(documents[:half]) + self._bulk(documents[half:])
            if error.status == TOO_LARGE or (error.busy and error.status):
                return [Response(error.status, f"status {error.status}")] * len(documents)
            raise
        try:
            responses = [Response.from_item(item) for item in content["items"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            responses = []
        if len(responses) != len(documents):
            raise ServerAway(f"OpenSearch at {self._name} sent no valid response to a bulk request; check {_PROXY}")
        return responses

    @contextmanager
    def _raising(self, what: str) -> Iterator[None]:
        """Turns the errors of opensearch-py into ours."""
        errors, server = self._errors, f"OpenSearch at {self._name} {what}"
        try:
            yield
        except (errors.AuthenticationException, errors.AuthorizationException) as error:
            right = _MISSING_RIGHT.search(str(error.info))
            missing = f", the right {right[1]} is missing" if right else ""
            remedy = "check opensearch.user and opensearch.password, and the rights in docs/opensearch.md"
            raise ResponseError(f"{server}: status {error.status_code}{missing}; {remedy}", int(error.status_code)) from None
        except errors.SSLError:
            remedy = "check opensearch.ca_file, and that opensearch.hosts contains the names in the certificate"
            raise StoreError(f"{server}: its certificate is not trusted; {remedy}") from None
        except errors.ConnectionTimeout:
            remedy = "check that the server is up, or raise opensearch.timeout_seconds"
            raise ResponseError(f"OpenSearch at {self._name}: no response in time; {remedy}") from None
        except errors.ConnectionError:
            remedy = "check opensearch.hosts and that the server is up"
            raise ResponseError(f"OpenSearch at {self._name}: no connection; {remedy}") from None
        except errors.SerializationError as error:
            remedy = f"check opensearch.hosts and that the server is up, {_PROXY}"
            raise ResponseError(f"{server}: {type(error).__name__}; {remedy}") from None
        except errors.TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else 500
            message = f"{server}: status {status} {error.error}"
            raise ResponseError(message[:_MAX_MESSAGE_CHARACTERS], status) from None


def _options(settings: OpenSearchSettings) -> dict[str, Any]:
    """User, certificates and TLS as opensearch-py names them."""
    options: dict[str, Any] = {}
    if settings.user is not None and settings.password is not None:
        options["http_auth"] = (settings.user, settings.password.get_secret_value())
    if settings.ca_file:
        options["ca_certs"] = str(settings.ca_file)
    if settings.cert_file and settings.key_file:
        options |= {"client_cert": str(settings.cert_file), "client_key": str(settings.key_file)}
    if any(host.startswith("https:") for host in settings.hosts):
        options |= {"use_ssl": True, "verify_certs": True}
    return options


def _parts(documents: Sequence[Document]) -> Iterator[list[Document]]:
    part: list[Document] = []
    size = 0
    for document in documents:
        if part and (size + len(document.body) > BULK_BYTES or len(part) >= BULK_DOCUMENTS):
            yield part
            part, size = [], 0
        part.append(document)
        size += len(document.body)
    if part:
        yield part
