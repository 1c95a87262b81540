"""`check`: tries every part that the settings name and prints one line for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage.cli.exits import EXIT_AGAIN, EXIT_INPUT, status_of
from stream_triage.cli.options import BundleOption, ConfigOption, DialectOption, RulesOption, as_settings
from stream_triage.errors import BundleError, SettingsError, StoreError, StreamTriageError
from stream_triage.render.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_triage.dialects import DialectTable
    from stream_triage.settings import Settings

__all__ = ["check"]


def check(
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    dialect: DialectOption = None,
    servers: Annotated[
        bool, typer.Option("--servers", help="Check Kafka even if no sink uses it: a worker reads from it.")
    ] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a settings file with comments and exit.")] = False,
) -> None:
    """Check the settings and everything that they name.

    That is bundle, rules, dialects, redaction, store and servers. Every part is checked, also after a fault in another
    one. Exits with 2 if there is a fault, or with 75 if it is only that a server does not respond or a disk is full.
    """
    from stream_triage.settings import load_settings

    if example:
        from stream_triage.example import example_settings

        print(example_settings(), end="")
        return
    settings = load_settings(config, **as_settings(bundle=bundle, rules=rules, dialects=dialect))
    steps: dict[str, Callable[[Settings], str]] = {
        "settings": lambda _: str(config) if config else "defaults and environment",
        "bundle": _check_bundle,
        "rules": _check_rules,
        "dialects": _check_dialects,
        **_checks_of_own_dialects(settings),
        "redaction": _check_redaction,
        "store": _check_store,
    }
    if "alerts" in settings.sinks:
        steps["alerts"] = _check_alerts
    if servers or "kafka" in settings.sinks:
        steps["kafka"] = _check_kafka
    if "opensearch" in settings.sinks:
        steps["opensearch"] = _check_opensearch
    statuses = {0}
    for name, step in steps.items():
        try:
            print(f"ok     {name}: {printable(step(settings))}")
        except StreamTriageError as error:
            print(f"wrong  {name}: {printable(str(error))}")
            statuses.add(status_of(error))
    raise typer.Exit(EXIT_INPUT if EXIT_INPUT in statuses else EXIT_AGAIN if EXIT_AGAIN in statuses else 0)


# Each of these describes its part in a few words, or raises a `StreamTriageError` that says what is wrong with it.


def _check_bundle(settings: Settings) -> str:
    from stream_triage import wiring
    from stream_triage.pipeline import Triage

    bundles = wiring.open_bundles(settings)
    for bundle in bundles:
        Triage(bundle, dialects=_usable_dialects(settings))
    if len(bundles) > 1:
        cards = (one.card for one in bundles)
        return f"{settings.bundle}, one of {', '.join(f'{card.name} {card.version}' for card in cards)}"
    card = bundle.card
    classifiers = ", ".join(f"{name} {share:g}" for name, share in card.classifiers.items())
    return f"{card.name} {card.version} from {bundle.location}, labels {', '.join(card.labels)}, classifiers {classifiers}"


def _check_rules(settings: Settings) -> str:
    from stream_triage import wiring
    from stream_triage.model import bundle_rules

    bundles, rules = wiring.open_bundles(settings), wiring.open_rules(settings)
    together = rules
    for bundle in bundles:
        together = together.before(bundle_rules(bundle))
    together.check_labels(list(dict.fromkeys(label for bundle in bundles for label in bundle.card.labels)))
    of_file, of_bundle = len(rules.rules), len(together.rules) - len(rules.rules)
    text = f"{of_file} rules from {settings.rules}" if settings.rules else "no rules file"
    return f"{text}, {of_bundle} rules from the bundle" if of_bundle else text


def _check_dialects(settings: Settings) -> str:
    """Those of stream-triage, whose examples the tests try. What is wrong with the bundle, its own step says."""
    from stream_triage import wiring
    from stream_triage.dialects import Dialects

    names = ", ".join(dialect.table.name for dialect in Dialects().dialects)
    with suppress(BundleError):
        wiring.find_dialects(settings)
    own = len(_own_dialects(settings))
    text = f"{names}; {own or 'no'} file{'s' if own != 1 else ''} of your own"
    with suppress(BundleError):
        cards = [bundle.card for bundle in wiring.open_bundles(settings)]
        card = cards[0]
        if not any("procedures" in one.classifiers for one in cards):
            text += f"; bundle {card.name} follows no procedures and uses none of them"
    return text


def _checks_of_own_dialects(settings: Settings) -> dict[str, Callable[[Settings], str]]:
    from stream_triage.dialect_report import faults_of, summary_of
    from stream_triage.dialects import Dialects, load_dialect, load_dialects

    usable: list[Path] = []

    def check_file(path: Path) -> str:
        table = load_dialect(path)
        own = load_dialects([*usable, path])
        usable.append(path)
        if faults := faults_of(Dialects(own), table).found:
            raise SettingsError("; ".join(faults))
        return f"{table.name} has {summary_of(table)}"

    def step(path: Path) -> Callable[[Settings], str]:
        return lambda _: check_file(path)

    return {f"dialect {path}": step(path) for path in _own_dialects(settings)}


def _own_dialects(settings: Settings) -> list[Path]:
    """Their files; those of the setting alone, if the bundle or its folder for dialects cannot be read."""
    from stream_triage import wiring

    try:
        return wiring.find_dialects(settings)
    except StreamTriageError:
        return list(settings.dialects)


def _usable_dialects(settings: Settings) -> Sequence[DialectTable]:
    """Without files that have a step of their own that fails."""
    from stream_triage.dialects import load_dialects

    usable: list[Path] = []
    for path in _own_dialects(settings):
        with suppress(SettingsError):
            load_dialects([*usable, path])
            usable.append(path)
    return load_dialects(usable)


def _check_alerts(settings: Settings) -> str:
    from stream_triage import wiring

    targets = wiring.open_targets(settings.alerts)
    unknown = sorted({route.team for route in settings.routes} - set(targets)) if "default" not in targets else []
    if unknown:
        raise SettingsError(f"no target for team {unknown[0]!r} of the routes; add it to alerts.targets, or a default")
    teams = ", ".join(f"{name} ({len(of_team)})" for name, of_team in sorted(targets.items()))
    return f"targets of {teams}" if teams else "no targets, so alerts stay in the outbox"


def _check_redaction(settings: Settings) -> str:
    from stream_triage.stages.redact import Redactor

    Redactor.from_settings(settings.redaction)
    pseudonyms = "stable pseudonyms" if settings.redaction.pseudonym_key else "no pseudonyms"
    return f"{len(settings.redaction.patterns)} patterns from the settings, {pseudonyms}"


def _check_opensearch(settings: Settings) -> str:
    from stream_triage.operations import ask_opensearch

    ask_opensearch(settings)
    return f"{', '.join(settings.opensearch.hosts)} has the index templates"


def _check_kafka(settings: Settings) -> str:
    from stream_triage.operations import ask_kafka

    partitions = ask_kafka(settings)
    kafka = settings.kafka
    return f"{','.join(kafka.servers)} over {kafka.security}, {kafka.topic} has {partitions[kafka.topic]} partitions"


def _check_store(settings: Settings) -> str:
    from stream_triage import wiring

    path = settings.store.path
    if not path.exists():
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise StoreError(f"{path} cannot be created: {folder} is not writable; set store.path to another file")
        return f"{path} does not exist yet; `stream-triage run` creates it"
    with wiring.open_store(settings) as store:
        return f"{path}" + (", has runs" if store.runs(limit=1) else ", empty")
