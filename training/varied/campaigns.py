"""Test campaigns: each prints some records that no other prints, in runs of every label.

Such records tell the campaign, never the label: a model that takes them as evidence has learned where its failing runs came
from. All records of a campaign are in one vocabulary, so a vocabulary that is held out holds out its campaigns too.
"""

import random
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from training.varied.vocabularies import VOCABULARIES

__all__ = ["CAMPAIGNS", "Campaign"]

EACH: Final = 3
"""Campaigns of one vocabulary."""
_VERBS: Final = (
    "Initializing", "Loading", "Flushing", "Checking", "Mapping", "Syncing", "Preparing", "Reading", "Updating", "Opening",
    "Arming", "Resetting",
)  # fmt: skip
_THINGS: Final = (
    "fader profile", "capture buffers", "MAC scheduler table", "antenna map", "RU signal buffers", "NAS subscriber list",
    "RLC trace filter", "licence pool", "power plan", "GPS reference", "cell database", "PDCP key store", "core proxy",
    "RRC decoder", "packet generator", "sample store", "SIM bank", "drive-test route", "slot map", "result mailer",
    "beam grid", "rack controller", "timing card", "PHY firmware patch", "spectrum snapshot",
)  # fmt: skip


class Campaign(NamedTuple):
    """A campaign: name, vocabulary, the records that only it prints, and a command that only its scripts have."""

    name: str
    vocabulary: str
    records: tuple[str, ...]
    command: str


_STYLES: Final[Mapping[str, Callable[[str, str, int], str]]] = {
    "release_a": lambda verb, thing, step: f"{verb} {thing} ({step})",
    "release_b": lambda verb, thing, step: f"{thing.upper()}: {verb.upper()} {step}",
    "keyed": lambda verb, thing, step: f"evt={verb.lower()} item={thing.replace(' ', '_').lower()} step={step}",
    "camel": lambda verb, thing, step: f"{''.join(w[0].upper() + w[1:] for w in thing.split())}::{verb} Step({step})",
    "notation": lambda verb, thing, step: f"{verb.lower()} : {{ item {thing.replace(' ', '-')}, step {step} }}",
    "sentences": lambda verb, thing, step: f"{verb} the {thing} now, step {step}.",
    "pipes": lambda verb, thing, step: f"{verb.upper()}|{thing.upper()}|STEP={step}",
    "brackets": lambda verb, thing, step: f"{thing.lower()}: {verb.lower()} (step {step})",
}
"""How each vocabulary writes that something is done with a thing, in a step."""


def _campaigns() -> tuple[Campaign, ...]:
    # The campaigns are the same for every seed of a corpus.
    rng = random.Random("varied campaigns")
    made = []
    for vocabulary in VOCABULARIES:
        pairs = rng.sample([(verb, thing) for verb in _VERBS for thing in _THINGS], EACH * 5)
        for number in range(EACH):
            records = tuple(
                _STYLES[vocabulary](verb, thing, step + 1)
                for step, (verb, thing) in enumerate(pairs[number * 5 : number * 5 + 5])
            )
            command = "".join(word.capitalize() for word in pairs[number * 5][1].replace("-", " ").split())
            made.append(Campaign(f"{vocabulary}-{number + 1}", vocabulary, records, f"Apt{command}"))
    return tuple(made)


CAMPAIGNS: Final = _campaigns()
