"""An OpenSearch cluster: settings in; requests answered, documents written in bulk and item by item judged.

The only file that knows opensearch-py. What fails raises `StoreError` with what to do; no message shows a password.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from stream_triage.errors import SettingsError, StoreError
from stream_triage.settings import OpenSearchSettings

__all__ = ["Answer", "BadAnswer", "Document", "SearchServer"]

# Of one bulk request; clusters refuse those above 100 MB, and small ones are tried again sooner.
BULK_BYTES = 5 << 20
TOO_LARGE = 413


class BadAnswer(StoreError):
    """A request failed. `status` is that of HTTP, 0 where no answer came."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def busy(self) -> bool:
        """Worth trying again."""
        return self.status in (0, 429) or self.status >= 500


@dataclass(frozen=True, slots=True)
class Document:
    """A document to write; a version that is not above the stored one changes nothing."""

    index: str
    id: str
    version: int
    body: bytes
    run_id: str = ""

    @property
    def origin(self) -> str:
        return f"{self.index}/{self.id}/{self.version}"

    @classmethod
    def made(cls, index: str, name: str, version: int, fields: Mapping[str, Any], run_id: str = "") -> Self:
        """Of these fields; lone surrogates, as damaged names have them, are no UTF-8 and are escaped."""
        return cls(index, name, version, json.dumps(fields).encode(), run_id)

    @classmethod
    def of(cls, origin: str, body: bytes) -> "Document | None":
        """The document that this origin names, if it names one.

        >>> Document.of("triage-verdicts-2026.11/night/1/201", b"{}").id
        'night/1'
        """
        index, _, rest = origin.partition("/")
        name, _, version = rest.rpartition("/")
        return cls(index, name, int(version), body) if index and name and version.isdecimal() else None


class Answer(NamedTuple):
    """What the server said to one document, by HTTP status."""

    status: int
    reason: str

    @property
    def written(self) -> bool:
        """Written now, or there before in this version or a higher one."""
        return self.status < 300 or self.status == 409

    @property
    def busy(self) -> bool:
        """Worth trying again."""
        return self.status == 429 or self.status >= 500

    @property
    def refused(self) -> bool:
        """It is the document's fault, and will be for ever. A missing right, a blocked index or a full cluster is not."""
        return self.status in (400, TOO_LARGE) and not self.reason.startswith("validation_exception")


class SearchServer:
    """Connects when first asked; one request at a time."""

    def __init__(self, settings: OpenSearchSettings) -> None:
        try:
            import opensearchpy
        except ImportError:
            raise SettingsError("OpenSearch needs the extra: pip install 'stream-triage[opensearch]'") from None
        if any("@" in host for host in settings.hosts):
            raise SettingsError(
                "opensearch.hosts hold a user or password; put them into opensearch.user and opensearch.password"
            )
        self._errors = opensearchpy.exceptions
        self._name = ", ".join(settings.hosts)
        told: dict[str, Any] = {}
        if settings.user is not None and settings.password is not None:
            told["http_auth"] = (settings.user, settings.password.get_secret_value())
        if settings.ca_file:
            told["ca_certs"] = str(settings.ca_file)
        if settings.cert_file and settings.key_file:
            told |= {"client_cert": str(settings.cert_file), "client_key": str(settings.key_file)}
        if any(host.startswith("https:") for host in settings.hosts):
            told |= {"use_ssl": True, "verify_certs": True}
        try:
            self._client = opensearchpy.OpenSearch(
                list(settings.hosts), timeout=settings.timeout_seconds, max_retries=0, **told
            )
        except (OSError, ValueError, self._errors.ImproperlyConfigured) as error:
            raise SettingsError(f"opensearch settings cannot be used: {error}") from None

    def bulk(self, documents: Sequence[Document]) -> list[Answer]:
        """Writes documents in requests of at most 5 MB; one answer each, in order."""
        answers: list[Answer] = []
        for part in _parts(documents):
            answers += self._bulk(part)
        return answers

    def _bulk(self, documents: Sequence[Document]) -> list[Answer]:
        body = b"".join(_action(document) + b"\n" + document.body + b"\n" for document in documents)
        with self._naming("does not take documents", answers=True) as failed:
            told = self._client.bulk(body=body.decode())
        if failed and failed[0].status == TOO_LARGE and len(documents) > 1:
            half = len(documents) // 2  # what stands before the server may take less than it
            return self._bulk(documents[:half]) + self._bulk(documents[half:])
        if failed:
            return [failed[0]] * len(documents)
        try:
            answers = [_answer(item) for item in told["items"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            answers = []
        if len(answers) != len(documents):
            raise StoreError(f"OpenSearch at {self._name} answered what is no answer to a bulk request; {_PROXY}")
        return answers

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request; an empty answer when what was asked for is not there."""
        with self._naming("cannot be asked"):
            try:
                told = self._client.transport.perform_request(method, f"/{path}", body=body)
            except self._errors.NotFoundError:
                return {}
            if not isinstance(told, dict):
                raise StoreError(f"OpenSearch at {self._name} did not answer with JSON; {_PROXY}")
            return told
        raise AssertionError

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _naming(self, what: str, answers: bool = False) -> Iterator[list[Answer]]:
        """With `answers`, one that means "later" or "too large" is given back instead of raised."""
        failed: list[Answer] = []
        errors = self._errors
        try:
            yield failed
        except (errors.AuthenticationException, errors.AuthorizationException) as error:
            right = _MISSING_RIGHT.search(str(error.info))
            lacks = f" for want of the right {right[1]}" if right else ""
            reason = "check opensearch.user and opensearch.password, and the rights in docs/opensearch.md"
            told = f"OpenSearch at {self._name} {what}: refused with status {error.status_code}{lacks}; {reason}"
            raise BadAnswer(told, int(error.status_code)) from None
        except errors.SSLError:
            reason = "check opensearch.ca_file, and that opensearch.hosts has the names in the certificate"
            raise StoreError(f"OpenSearch at {self._name} {what}: its certificate is not trusted; {reason}") from None
        except (errors.ConnectionError, errors.SerializationError) as error:
            kind = type(error).__name__
            slow = "raise opensearch.timeout_seconds, " if isinstance(error, errors.ConnectionTimeout) else ""
            raise BadAnswer(
                f"OpenSearch at {self._name} {what}: {kind}; {slow}check opensearch.hosts and that it is up, {_PROXY}"
            ) from None
        except errors.TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else 500
            answer = Answer(status, f"status {status}")
            if not (answers and (answer.busy or status == TOO_LARGE)):
                told = f"OpenSearch at {self._name} {what}: status {status} {error.error}"
                raise BadAnswer(told[:500], status) from None
            failed.append(answer)


# As the security plugin says it, with the user's name and roles behind.
_MISSING_RIGHT = re.compile(r"no permissions for \[([\w:/*, -]+)")
_PROXY = "or that what answers is OpenSearch and no proxy"


def _action(document: Document) -> bytes:
    told = {"_index": document.index, "_id": document.id, "version": document.version, "version_type": "external"}
    return json.dumps({"index": told}).encode()


def _answer(item: dict[str, Any]) -> Answer:
    told = next(iter(item.values()))
    error = told.get("error") or {}
    cause = error.get("caused_by") or {}
    reason = ": ".join(str(part) for part in (error.get("type"), error.get("reason"), cause.get("reason")) if part)
    return Answer(int(told["status"]), reason[:500])


def _parts(documents: Sequence[Document]) -> Iterator[list[Document]]:
    part: list[Document] = []
    size = 0
    for document in documents:
        if part and size + len(document.body) > BULK_BYTES:
            yield part
            part, size = [], 0
        part.append(document)
        size += len(document.body)
    if part:
        yield part
