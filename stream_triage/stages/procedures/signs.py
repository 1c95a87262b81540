"""Names of features in, what they mean in plain words out, for people who ask where a weight comes from."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Final

from stream_triage.dialects import LAYERS
from stream_triage.stages.procedures.breaks import LAYER_WORDS

__all__ = ["absence", "meaning"]

_LAYERS: Final[Mapping[str, str]] = dict(zip(LAYERS, LAYER_WORDS, strict=True))
_OF_LAYER: Final[Mapping[str, str]] = {
    "repeated": "the same trouble of {} again and again at one UE",
    "total": "much trouble of {} at one UE",
    "struck": "UEs with repeated trouble of {}",
    "alone": "repeated trouble of {} that names no UE",
    "first": "failed UEs whose first trouble was of {}",
    "lowest": "failed UEs whose lowest layer with trouble was {}",
    "dominant": "failed UEs whose trouble was mostly of {}",
    "has": "failed UEs with trouble of {}",
    "loop": "failed UEs whose first repeated trouble was of {}",
    "blamed": "failed UEs for which {} is to blame",
    "cause": "first break of {}",
}
_OF_PROCEDURE: Final[Mapping[str, str]] = {
    "share_broken": "share of UEs with an unfinished {}",
    "broken": "unfinished {}",
    "bad": "failed attempts of {}",
}
_OF_VALUE: Final = ("largest", "mean", "latest")
_VALUE_WORDS: Final[Mapping[str, str]] = {
    "dl_bler": "downlink block error rate",
    "ul_bler": "uplink block error rate",
    "cqi": "CQI",
    "rsrp": "RSRP",
    "sinr": "SINR",
    "dl_rate": "downlink rate",
    "ul_rate": "uplink rate",
    "duplicates": "share of duplicate HARQ blocks",
    "discards": "share of discarded HARQ blocks",
    "retransmissions": "share of RLC retransmissions",
    "pdcp_discards": "share of discarded PDCP SDUs",
    "ru_late": "late messages of the front-haul",
    "ru_early": "early messages of the front-haul",
    "ru_seqid_err": "sequence errors of the front-haul",
    "ru_corrupt": "damaged messages of the front-haul",
}
_OTHERS: Final[Mapping[str, str]] = {
    "broken": "UEs that failed",
    "share_broken": "share of UEs that failed",
    "most_reestablishments": "re-establishments of one UE",
    "most_access_errors": "random access errors of one UE",
    "reports_without_handover": "measurement reports without a handover",
    "expects_refusal": "the script waits for a refusal",
}


@cache
def meaning(feature: str) -> str:
    """What a feature means; its name with blanks if it is new here.

    >>> meaning("bad_registration"), meaning("alone_l2"), meaning("largest_dl_bler")
    ('failed attempts of registration', 'repeated trouble of layer 2 that names no UE', 'largest downlink block error rate')
    >>> meaning("ues_most L2"), meaning("alone_persists_l1")
    ('UEs that look failed in L2', 'repeated trouble of layer 1 that names no UE')
    """
    if feature in _OTHERS:
        return _OTHERS[feature]
    if feature.startswith("ues_"):
        return _of_ues(feature.partition(" ")[2])
    kind, _, layer = feature.rpartition("_")
    kind = "alone" if kind.startswith("alone_") else kind
    if kind in _OF_LAYER and layer in LAYERS:
        return _OF_LAYER[kind].format(_LAYERS[layer])
    for kind, words in _OF_PROCEDURE.items():
        if feature.startswith(f"{kind}_"):
            return words.format(feature.removeprefix(f"{kind}_"))
    kind, _, value = feature.partition("_")
    if kind in _OF_VALUE:
        return f"{kind} {_VALUE_WORDS.get(value, value.replace('_', ' '))}"
    return feature.replace("_", " ")


def _of_ues(label: str) -> str:
    return "UEs that look failed" if label == "failed" else f"UEs that look failed in {label}"


def absence(feature: str, value: float) -> str:
    """What a feature that rests on no line says: nothing of the kind came, or no table or record states the value.

    >>> absence("bad_registration", 0.0), absence("largest_dl_bler", float("nan")), absence("expects_refusal", 1.0)
    ('no sign of registration problems', 'no statistics: downlink block error rate', 'the script waits for a refusal')
    """
    if feature.startswith(("ues_", "alone_")):
        return meaning(feature) if value else f"no sign of {meaning(feature)}"
    if math.isnan(value):
        _, _, name = feature.partition("_")
        return f"no statistics: {_VALUE_WORDS.get(name, name.replace('_', ' '))}"
    return meaning(feature) if value else _none_of(feature)


@cache
def _none_of(feature: str) -> str:
    kind, _, layer = feature.rpartition("_")
    if kind in _OF_LAYER and layer in LAYERS:
        return f"no sign of trouble of {_LAYERS[layer]}"
    for kind in _OF_PROCEDURE:
        if feature.startswith(f"{kind}_"):
            return f"no sign of {feature.removeprefix(f'{kind}_')} problems"
    if feature.partition("_")[0] in _OF_VALUE:
        return f"{meaning(feature)} is 0"
    return "no sign of a failed UE" if feature in ("broken", "share_broken") else f"none: {meaning(feature)}"
