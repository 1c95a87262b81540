"""Test campaigns: each prints some records that no other prints, in runs of every label.

Such records tell the campaign, never the label: a model that takes them as evidence has learned where its failing runs came
from. All records of a campaign are in one vocabulary, so a vocabulary that is held out holds out its campaigns too.
"""

import random
from typing import Final, NamedTuple

from training.varied.vocabularies import VOCABULARIES

__all__ = ["CAMPAIGNS", "Campaign"]

EACH: Final = 4
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


def _styled(vocabulary: str, verb: str, thing: str, step: int) -> str:
    words = thing.split()
    if vocabulary == "keyed":
        return f"evt={verb.lower()} item={'_'.join(words).lower()} step={step}"
    if vocabulary == "camel":
        return f"{''.join(word[0].upper() + word[1:] for word in words)}::{verb} Step({step})"
    if vocabulary == "notation":
        return f"{verb.lower()} : {{ item {'-'.join(words)}, step {step} }}"
    if vocabulary == "sentences":
        return f"{verb} the {thing} now, step {step}."
    return f"{verb} {thing} ({step})" if vocabulary == "release_a" else f"{thing.upper()}: {verb.upper()} {step}"


def _campaigns() -> tuple[Campaign, ...]:
    # The campaigns are the same for every seed of a corpus.
    rng = random.Random("varied campaigns")
    made = []
    for vocabulary in VOCABULARIES:
        pairs = rng.sample([(verb, thing) for verb in _VERBS for thing in _THINGS], EACH * 5)
        for number in range(EACH):
            records = tuple(
                _styled(vocabulary, verb, thing, step + 1)
                for step, (verb, thing) in enumerate(pairs[number * 5 : number * 5 + 5])
            )
            command = "".join(word.capitalize() for word in pairs[number * 5][1].replace("-", " ").split())
            made.append(Campaign(f"{vocabulary}-{number + 1}", vocabulary, records, f"Apt{command}"))
    return tuple(made)


CAMPAIGNS: Final = _campaigns()
