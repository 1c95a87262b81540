"""Kinds in, invented logs with labels out: the same ones for the same seed."""

import hashlib
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.redaction.templates import Kind
from benchmarks.redaction.values import PREFIXED, Values

__all__ = ["Document", "Secret", "fingerprint", "make_documents"]

_SEED: Final = 1
_TOKEN: Final = re.compile(r"(?P<open>⟪)|(?P<close>⟫)|⟦(?P<secret>[^⟦⟧]*)⟧|⟨(?P<filler>[^⟨⟩]*)⟩")
_PLACEHOLDER: Final = re.compile(r"(?:(?P<group>[a-z0-9]+)@)?(?P<name>[A-Za-z0-9]+)(?::(?P<argument>.*))?", re.DOTALL)


class Secret(NamedTuple):
    """What must be removed: one or more stretches (start, end) of a document's text."""

    spans: tuple[tuple[int, int], ...]


class Document(NamedTuple):
    """One log: the lines of a template among harmless lines."""

    kind: Kind
    number: int
    text: str
    secrets: tuple[Secret, ...]
    optional: tuple[tuple[int, int], ...]
    """Stretches that may be removed, such as the user name beside a password."""


def make_documents(kinds: Iterable[Kind], context: Mapping[str, Sequence[str]], per_kind: int) -> list[Document]:
    """So many documents of each kind, its templates in turn. A document depends on its kind and number alone."""
    return [
        _document(kind, number, context[kind.style], random.Random(f"{_SEED} {kind.name} {number}"))  # noqa: S311 (reproducible)
        for kind in kinds
        for number in range(per_kind)
    ]


def fingerprint(documents: Iterable[Document]) -> str:
    """A digest of texts and labels."""
    digest = hashlib.sha256()
    for document in documents:
        labels = (document.kind.name, document.kind.half, document.secrets, document.optional)
        digest.update(repr((document.text, *labels)).encode())
    return digest.hexdigest()


def _document(kind: Kind, number: int, lines: Sequence[str], rng: random.Random) -> Document:
    before, after = (rng.choices(lines, k=rng.randrange(1, 6)) for _ in range(2))
    template = kind.templates[number % len(kind.templates)]
    return _filled(kind, number, "\n".join((*before, template, *after)), Values(rng))


def _filled(kind: Kind, number: int, template: str, values: Values) -> Document:
    """The template with values in place of its placeholders, and where the secrets are."""
    pieces: list[str] = []
    length = done = optional_from = 0
    spans: dict[str, list[tuple[int, int]]] = {}
    optional: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(template):
        pieces.append(template[done : token.start()])
        length += len(pieces[-1])
        done = token.end()
        if token["open"]:
            optional_from = length
        elif token["close"]:
            optional.append((optional_from, length))
        else:
            body = token["filler"] if token["secret"] is None else token["secret"]
            placeholder = _PLACEHOLDER.fullmatch(body)
            if placeholder is None:
                raise ValueError(f"kind {kind.name}: {body!r} is no placeholder")
            name, argument = placeholder["name"], placeholder["argument"] or ""
            pieces.append(values.make(name, argument))
            end = length + len(pieces[-1])
            if token["secret"] is not None:
                start = length + (len(argument.rpartition(":")[0]) if name in PREFIXED else 0)
                optional += [(length, start)] if start > length else []
                spans.setdefault(placeholder["group"] or f"at {length}", []).append((start, end))
            length = end
    text = "".join([*pieces, template[done:]])
    return Document(kind, number, text, tuple(Secret(tuple(parts)) for parts in spans.values()), tuple(optional))
