"""Key texts of masked lines in, template keys out. Templates are mined in training and frozen; serving never learns.

A frozen set makes keys comparable: a line has the same key in every run and process, and detectors, alerts and stored
verdicts rely on that. Drain as published goes on learning, so its clusters depend on what came before.

Mining cuts lines into words at separators. Lines with equal separators form a group, and drain3 clusters each group (He et
al., "Drain: an online log parsing approach with fixed depth tree", ICWS 2017). Two passes correct its clusters by how many
values a variable position shows. What that gives is in training/results/parsing.md. Matching is a few dictionary look-ups.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from drain3.drain import Drain

from stream_triage.errors import BundleError

FORMAT_VERSION: Final = 1
WILDCARD: Final = "<*>"
REST: Final = "<rest>"
"""Stands for everything after the first `max_words` words of a line."""
NEW_PREFIX: Final = "new:"

Words: TypeAlias = tuple[str, ...]
Separators: TypeAlias = tuple[str, ...]
Cluster: TypeAlias = list[Words]

# Where lines are cut. Punctuation is cut off one character at a time: `()` then contains an empty word and can match
# `(<*>)`. A single number in parentheses stays with the word before it: `LOCAL(<num>)` is one word, as an address is.
_SEPARATOR: Final = re.compile(r"( = |\.{3,} ?|[,;:]? |\((?!<num>\))|(?<!\(<num>)\)|[=,;:\[\]{}\"'|])")

# What a word looks like.
_MARKERS: Final = re.compile(r"[^A-Za-z]*(?:<[a-z-]+>[^A-Za-z]*)*")
_NAME: Final = re.compile(
    r"[A-Za-z]{2,}(?:[-_./][A-Za-z]+)*[-_]?\d{0,3}[-.!?*]*(?:\(<num>\))?"  # FAILED, SIB1, eth0, deny(<num>)
    r"|[A-Z]\d{1,3}|[^\w<>]+"  # L1, T310; punctuation alone
)
_INSTANCE: Final = re.compile(r"([a-z].*?)\d+\W*")  # eth0, node-12: one of several, unlike T310 and SIB1
_CAPITALS: Final = re.compile(r"[A-Z][A-Z_]{3,}[-.!?]*")
_CODE: Final = re.compile(r"-?\d+|0[xX][0-9a-fA-F]+")  # a number that masking kept
# Words for an outcome stay apart even as values. Interchangeable ones are worth no template of their own.
_OUTCOME: Final = re.compile(
    r"(?i)n?ok|ko|pass(?:ed)?|fail(?:ed|ure)?|success(?:ful)?|succeeded|error|timeout|aborted|abort"
)
_INTERCHANGEABLE: Final = re.compile(r"(?i)true|false|null|nil|none|[kmgt]?i?b|[munp]?s|sec|min")
_SOURCE_FILE: Final = re.compile(
    r".*\.(?:[ch]|cc|hh|cpp|hpp|cxx|py|js|ts|go|rs|java|kt|rb|pl|sh|lua|cs|php|so|ko|log|xml|json|ya?ml|txt|conf|cfg)"
)

# What the word before a value announces: a reason (values stay apart), an identity (values vary), a kind of message.
_REASON: Final = re.compile(r"(?i).*(?:cause|code|errno)|reason|error|err|rc|ret|status|signal|state|result|assertion")
_IDENTITY: Final = re.compile(r"(?i)user(?:name)?|login|host(?:name)?|name|tag")
_TELLING: Final = re.compile(r"(?i)msg|message|event|action|type|cmd|command|op|kind|method|level")


@dataclass(frozen=True)
class DrainSettings:
    """How templates are mined. The defaults are used for every log; training/results/parsing.md shows what they give.

    `similarity` and `depth` are those of Drain. The counts are our own: if lines differ in one word, up to so many different
    words in that position are constants, each with its own template. With more of them, the word is a variable, `<*>`.
    """

    similarity: float = 0.5
    depth: int = 4
    name_values: int = 4
    """Names: `slot <num> is UPLINK`, `… DOWNLINK`."""
    first_values: int = 12
    """Names that begin the line; they rarely vary."""
    capital_values: int = 64
    """Names in capitals (commands, messages, states) where nothing else is seen."""
    instance_values: int = 3
    """Numbered names of different stems (eth0, wlan0); of one stem (eth0, eth1) they always vary."""
    mixed_values: int = 2
    """Names in a position that also shows numbers, addresses and the like."""
    reason_values: int = 64
    """Codes, and whatever follows a word like cause, error, status."""
    mute_values: int = 200
    """Names of functions and keys, and names in lines without any other name."""
    max_words: int = 128
    """Words of a line that are compared; what follows them is one `<rest>`."""


class Templates:
    """A frozen set of templates, with a key and the number of training lines of each."""

    def __init__(
        self, templates: Sequence[str], counts: Sequence[int], settings: DrainSettings, masking_version: int = 0
    ) -> None:
        self.templates: Final = tuple(templates)
        self.counts: Final = tuple(counts)
        self.keys: Final = tuple(template_key(template) for template in self.templates)
        self.settings: Final = settings
        self.masking_version: Final = masking_version
        self._index = _Index(self.templates, settings.max_words)

    @property
    def items(self) -> list[tuple[str, str]]:
        """Keys and texts, in the order of the texts."""
        return sorted(zip(self.keys, self.templates, strict=True), key=lambda item: item[1])

    @classmethod
    def fit(cls, key_texts: Iterable[str], settings: DrainSettings | None = None, masking_version: int = 0) -> Templates:
        """Mines the templates of all lines and freezes them.

        The order of lines does not matter, since distinct lines are sorted first. `masking_version` (0: not stated) is
        stored with the set, so that it is not used on text masked otherwise. Costs about 0.15 ms a distinct line.
        """
        settings = settings or DrainSettings()
        lines = Counter(_canonical(text) for text in key_texts)
        mined = sorted(set(_mined(sorted(lines), settings)))
        index = _Index(mined, settings.max_words)
        counts: Counter[int] = Counter()
        for line, count in lines.items():
            counts[index.find(line)] += count
        used = [i for i in range(len(mined)) if counts[i]]  # other templates match nothing before these do
        return cls([mined[i] for i in used], [counts[i] for i in used], settings, masking_version)

    def match(self, key_text: str) -> int:
        """The index of the line's template in `templates`, or -1.

        A template matches if it has the separators of the line, and each of its words is equal or `<*>`. Of several, the one
        with the fewest `<*>` wins, then the one whose `<*>` begin further right.
        """
        return self._index.find(_canonical(key_text))

    def match_many(self, key_texts: Iterable[str]) -> list[int]:
        """`match` of each text, in order; equal texts are looked up once."""
        memo: dict[str, int] = {}
        indexes = []
        for text in key_texts:
            index = memo.get(text)
            if index is None:
                index = memo[text] = self.match(text)
            indexes.append(index)
        return indexes

    def new_key(self, key_text: str) -> str:
        """The key of a line that matches no template: "new:" and the hash of its words."""
        separators, words = _cut(_canonical(key_text), self.settings.max_words)
        return NEW_PREFIX + template_key(_joined(separators, words))

    def to_json(self) -> str:
        """As JSON with one template a line, so that versions can be compared as text."""
        head = {
            "format_version": FORMAT_VERSION,
            "masking_version": self.masking_version,
            "settings": asdict(self.settings),
        }
        rows = ",\n".join(
            json.dumps({"key": key, "template": template, "count": count}, ensure_ascii=False)
            for key, template, count in zip(self.keys, self.templates, self.counts, strict=True)
        )
        return f'{json.dumps(head)[:-1]}, "templates": [\n{rows}\n]}}\n'

    @classmethod
    def from_json(cls, text: str, masking_version: int | None = None) -> Templates:
        """Reads what `to_json` wrote.

        Raises:
            BundleError: The text is damaged or of another format, a key is not the hash of its template, or
                `masking_version` is given and differs.
        """
        try:
            return cls._read(json.loads(text), masking_version)
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"templates.json cannot be read ({error!r}); restore it from the bundle's source "
                "or write it again with training/fit/templates.py"
            ) from error

    @classmethod
    def _read(cls, data: Any, masking_version: int | None) -> Templates:
        if data["format_version"] != FORMAT_VERSION:
            raise BundleError(
                f"templates.json has format {data['format_version']}, this version reads {FORMAT_VERSION}; "
                "install the matching version or write it again with training/fit/templates.py"
            )
        if masking_version is not None and data["masking_version"] != masking_version:
            raise BundleError(
                f"templates.json was made with masking version {data['masking_version']}, this version masks with "
                f"{masking_version}; retrain the bundle or install the matching version"
            )
        rows = data["templates"]
        for row in rows:
            if row["key"] != template_key(row["template"]):
                raise BundleError(
                    f"templates.json was changed: key {row['key']} is not the hash of its template {row['template']!r}; "
                    "restore the file from the bundle's source"
                )
        return cls(
            [str(row["template"]) for row in rows],
            [int(row["count"]) for row in rows],
            DrainSettings(**data["settings"]),
            int(data["masking_version"]),
        )


def template_key(template: str) -> str:
    """First 16 hex digits of the SHA-256 of the template's UTF-8 text."""
    return hashlib.sha256(template.encode()).hexdigest()[:16]


# --- lines as words ---------------------------------------------------------------------------------------------------


def _canonical(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, max_words: int) -> tuple[Separators, Words]:
    """The separators and the words between them; joined in turn they are the text again, up to `max_words`."""
    parts = _SEPARATOR.split(text, max_words)
    if len(parts) > 2 * max_words:
        parts[-1] = REST
    return tuple(parts[1::2]), tuple(parts[0::2])


def _joined(separators: Separators, words: Words) -> str:
    return "".join(chain.from_iterable(zip(words, (*separators, ""), strict=True)))


# --- matching ---------------------------------------------------------------------------------------------------------


class _Index:
    """Templates by separators, then by the positions of their constant words, then by these words."""

    def __init__(self, templates: Sequence[str], max_words: int) -> None:
        self._max_words = max_words
        self._groups: dict[Separators, list[tuple[tuple[int, ...], dict[Words, int]]]] = {}
        grouped: dict[Separators, dict[tuple[int, ...], dict[Words, int]]] = defaultdict(lambda: defaultdict(dict))
        for number, template in enumerate(templates):
            separators, words = _cut(template, max_words)
            constants = tuple(i for i, word in enumerate(words) if word != WILDCARD)
            grouped[separators][constants][tuple(words[i] for i in constants)] = number
        for separators, by_constants in grouped.items():
            # Most constants first; of equally many, those further left.
            self._groups[separators] = sorted(by_constants.items(), key=lambda item: (-len(item[0]), item[0]))

    def find(self, text: str) -> int:
        separators, words = _cut(text, self._max_words)
        for constants, by_words in self._groups.get(separators, ()):
            number = by_words.get(tuple([words[i] for i in constants]))
            if number is not None:
                return number
        return -1


# --- mining -----------------------------------------------------------------------------------------------------------


class _GroupDrain(Drain):  # type: ignore[misc]  # drain3 has no annotations
    """Drain over lines that are cut into words already, joined by a character that no word contains."""

    def get_content_as_tokens(self, content: str) -> list[str]:
        """The words, as they were cut."""
        return content.split("\n")

    def get_seq_distance(self, seq1: Words, seq2: Words, include_params: bool) -> tuple[float, int]:
        """Drain's similarity, over words that say something: equal markers and empty words are left out."""
        equal = compared = wildcards = 0
        for word, other in zip(seq1, seq2, strict=True):
            if word == WILDCARD:
                wildcards += 1
            elif word == other:
                if _MARKERS.fullmatch(word):
                    continue
                equal += 1
            compared += 1
        return (equal / compared if compared else 1.0), wildcards


def _mined(lines: Sequence[str], settings: DrainSettings) -> Iterator[str]:
    groups: dict[Separators, list[Words]] = defaultdict(list)
    for line in lines:
        separators, words = _cut(line, settings.max_words)
        groups[separators].append(words)
    for separators, members in groups.items():
        miner = _Group(separators, settings)
        pieces = [piece for cluster in miner.clusters(members) for piece in miner.split(cluster)]
        for cluster in miner.merged(pieces):
            yield _joined(separators, _template(cluster))


def _template(cluster: Cluster) -> Words:
    return tuple(column[0] if len(set(column)) == 1 else WILDCARD for column in zip(*cluster, strict=True))


class _Group:
    """Mines the lines that share their separators."""

    def __init__(self, separators: Separators, settings: DrainSettings) -> None:
        self._separators = separators
        self._settings = settings

    def clusters(self, members: Sequence[Words]) -> list[Cluster]:
        """Drain's clusters; the values of `key=value` do not take part in the comparison."""
        drain = _GroupDrain(depth=self._settings.depth, sim_th=self._settings.similarity, max_children=10_000)
        clusters: dict[int, Cluster] = defaultdict(list)
        for words in members:
            seen = ["<value>" if self._kind(words, i) == "value" else word for i, word in enumerate(words)]
            cluster, _ = drain.add_log_message("\n".join(seen))
            clusters[cluster.cluster_id].append(words)
        return list(clusters.values())

    def split(self, cluster: Cluster) -> list[Cluster]:
        """Undoes generalisation over few names: `slot <num> is UPLINK` and `… DOWNLINK` are two messages.

        Splits at the position with the fewest constants first, and each part again.
        """
        values = [set(column) for column in zip(*cluster, strict=True)]
        mute = not any(len(seen) == 1 and _tells(*seen) for seen in values)
        candidates = []
        for position, seen in enumerate(values):
            apart = self._apart(cluster[0], position, seen, mute) if len(seen) > 1 else None
            if apart:
                candidates.append((len(apart), position, apart))
        if not candidates:
            return [cluster]
        _, position, apart = min(candidates, key=lambda candidate: candidate[:2])
        parts: dict[str, Cluster] = defaultdict(list)
        for words in cluster:
            parts[words[position] if words[position] in apart else WILDCARD].append(words)
        return [piece for part in parts.values() for piece in self.split(part)]

    def merged(self, clusters: list[Cluster]) -> list[Cluster]:
        """Joins clusters that differ in one position only, except those whose word there is a constant."""
        for position in range(len(self._separators) + 1):
            by_others: dict[Words, list[Cluster]] = defaultdict(list)
            for cluster in clusters:
                template = _template(cluster)
                by_others[template[:position] + template[position + 1 :]].append(cluster)
            clusters = []
            for others, alike in by_others.items():
                clusters += self._joined(others, alike, position) if len(alike) > 1 else alike
        return clusters

    def _joined(self, others: Words, alike: list[Cluster], position: int) -> list[Cluster]:
        values = {words[position] for cluster in alike for words in cluster}
        apart = self._apart(alike[0][0], position, values, mute=not any(map(_tells, others)))
        kept: list[Cluster] = []
        pool: Cluster = []
        for cluster in alike:
            if {words[position] for words in cluster} <= apart:
                kept.append(cluster)
            else:
                pool += cluster
        return [*kept, pool] if pool else kept

    def _apart(self, words: Words, position: int, values: set[str], mute: bool) -> set[str]:
        """Which of the values of a position are constants. `mute`: no other word of the line says what it is about."""
        settings = self._settings
        kind = self._kind(words, position)
        few = len(values) <= settings.reason_values
        if kind == "reason" or (few and any(map(_OUTCOME.fullmatch, values))):
            return values if few else set()
        if kind == "value" or all(_INTERCHANGEABLE.fullmatch(value) for value in values):
            return set()
        if mute or kind == "name":
            many = len(values) > settings.mute_values
            names = {value for value in values if _NAME.fullmatch(value)} if many else values
            return names if len(names) <= settings.mute_values else set()
        codes = {value for value in values if _CODE.fullmatch(value)}
        return self._names(position, values - codes) | (codes if len(codes) <= settings.reason_values else set())

    def _names(self, position: int, values: set[str]) -> set[str]:
        """The names among the values, if they are few enough to be constants."""
        settings = self._settings
        names = {value for value in values if _NAME.fullmatch(value)}
        limit = settings.name_values if position else settings.first_values
        if all(_CAPITALS.fullmatch(value) for value in values):
            return values if len(values) <= settings.capital_values else set()
        if len(names) < len(values):
            # Among addresses and ids, a dotted name is a host, and LOCAL(<num>) is an address too.
            names = {name for name in names if not name.endswith(")") and ("." not in name or _SOURCE_FILE.fullmatch(name))}
            limit = settings.mixed_values
        elif any(instances := [_INSTANCE.fullmatch(name) for name in names]):
            one_stem = all(instances) and len({match[1] for match in instances if match}) == 1
            limit = 0 if one_stem else settings.instance_values
        return names if len(names) <= limit else set()

    def _kind(self, words: Words, position: int) -> str:
        """What a word is, by its neighbours: a "name" (function, key), a "reason", a "value", or a plain "word"."""
        after = self._separators[position] if position < len(self._separators) else ""
        if after in ("=", "("):
            return "name"
        if after == ":" and words[position + 1] == "<num>" and _is_host(words[position]):
            return "value"
        if not position:
            return "word"
        before, separator = words[position - 1], self._separators[position - 1]
        if not before and position > 1 and separator in "\"'([{":
            before, separator = words[position - 2], self._separators[position - 2]
        if _REASON.fullmatch(before):
            return "reason"
        if _IDENTITY.fullmatch(before) or (separator in ("=", " = ") and not _TELLING.fullmatch(before)):
            return "value"
        return "word"


def _is_host(word: str) -> bool:
    return "." in word and not _SOURCE_FILE.fullmatch(word)


def _tells(word: str) -> bool:
    """Whether the word is a name, and no number, id, marker or punctuation."""
    return word[:1].isalpha() and _NAME.fullmatch(word) is not None
