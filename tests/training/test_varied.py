"""Version 2 of the corpus: habits before labels, held-out vocabularies, faults that show, and an audit that can fail."""

import csv
import json
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pytest

from stream_triage.stages.normalise import mask
from training.corpus.figures import failures
from training.data import read_predefined
from training.varied import GeneratedRun, generate
from training.varied import plan as planning
from training.varied.__main__ import main
from training.varied.audit import audit, crude, difficulty, set_up
from training.varied.campaigns import CAMPAIGNS
from training.varied.faults import CAUSES, evidence_kinds
from training.varied.habits import combination
from training.varied.plan import LABELS, PARTS, SPLITS, catalogue, held_out, plan
from training.varied.vocabularies import (
    INVENTED,
    UE_FORMS,
    VOCABULARIES,
    brackets,
    camel,
    keyed,
    notation,
    pipes,
    protocol,
    sentences,
    worded,
)

BY_NAME = {cause.name: cause for cause in CAUSES}


@pytest.fixture(scope="module")
def some() -> list[GeneratedRun]:
    return list(generate(160, seed=7))


def lines(run: GeneratedRun) -> list[str]:
    return run.text.decode(errors="replace").replace("\r\n", "\n").split("\n")[:-1]


def invented(run: GeneratedRun) -> set[str]:
    """Lines with invented words, without their numbers and without what the writer puts in front of them."""
    text = lines(run)
    found = set()
    for place in run.written.invented:
        payload = re.search(r"(?:I: (?:CMPI|TMAE|ERNO)|SETP|SDLI) .*|\S.*", text[place])
        assert payload
        found.add(re.sub(r"0x[0-9A-Fa-f]+|\d+", "0", payload[0].replace("\x1b[0m", "")))
    return found


class Any7(dict[str, object]):
    """A value for every field of a record."""

    def __missing__(self, name: str) -> object:
        return {"word": "Congestion", "event": "A3", "ie": "spCellConfig", "timer": "T3510"}.get(name, 7)


def rendered(vocabulary: str, event: str, values: Mapping[str, object] | None = None) -> str:
    known = Any7(v=UE_FORMS[vocabulary][0].format(7), u=": UE Id:7", U="UE Id:7", r=": UE Id: 7", **(values or {}))
    return "\n".join(worded(vocabulary, event, known, lte=False))


def test_same_seed_same_bytes(some: list[GeneratedRun]) -> None:
    """A seed determines every run, and another seed gives other ones."""
    again = list(islice(generate(160, seed=7), 25))
    assert [(run.run_id, run.label, run.parts, run.text) for run in again] == [
        (run.run_id, run.label, run.parts, run.text) for run in some[:25]
    ]
    assert next(generate(160, seed=8)).text != some[0].text


def test_habits_do_not_depend_on_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other shares of the labels every run keeps its habits, the number of its troubles included."""
    before = [one.habits for one in plan(300, seed=3)]
    monkeypatch.setattr(planning, "SHARES", {"Pass": 0.1, "L0_L1": 0.2, "L2": 0.3, "L3": 0.4})
    after = plan(300, seed=3)
    assert [one.habits for one in after] == before
    assert sum(one.label == "L3" for one in after) > 100


def test_every_vocabulary_words_every_invented_record() -> None:
    """The tables of words have the same events, and no two vocabularies word a record alike."""
    for table in (camel, notation, sentences, pipes, brackets):
        assert set(table.WORDS) == set(keyed.WORDS)
    assert not set(keyed.WORDS) & (set(protocol.MESSAGES) | set(protocol.TIMERS))
    for event in INVENTED:
        texts = {vocabulary: mask(rendered(vocabulary, event)) for vocabulary in VOCABULARIES}
        assert len(set(texts.values())) == len(VOCABULARIES), texts


def test_no_line_of_a_held_out_vocabulary_is_in_training(some: list[GeneratedRun]) -> None:
    """Invented lines of the test part of the split `vocabulary` are new; so are those of the validation part."""
    seen = {part: set[str]() for part in PARTS}
    for run in some:
        seen[run.parts["vocabulary"]] |= invented(run)
    assert len(seen["test"]) > 200
    assert not seen["test"] & (seen["train"] | seen["validation"])
    assert not seen["validation"] & seen["train"]


def test_a_campaign_has_one_vocabulary_and_its_own_records() -> None:
    """No two campaigns print the same record, and each has all labels."""
    records = [record for campaign in CAMPAIGNS for record in campaign.records]
    assert len(records) == len(set(records))
    planned = plan(3262, seed=1)
    for campaign in CAMPAIGNS:
        assert {one.label for one in planned if one.habits.campaign == campaign.name} == set(LABELS)


def test_held_out_causes_are_in_no_other_run(some: list[GeneratedRun]) -> None:
    """In the split `causes` causes of the test part neither last nor are overcome in training, and scripts are its own."""
    seen: dict[str, dict[str, set[str]]] = {part: {"cause": set(), "script": set()} for part in PARTS}
    for run in some:
        part = seen[run.parts["causes"]]
        part["cause"] |= {run.cause} - {""}
        part["script"].add(run.habits.script.name)
    for run in some:
        if run.parts["causes"] != "test":
            assert not seen["test"]["cause"] & {run.cause, *run.overcome}
    assert not seen["test"]["script"] & (seen["train"]["script"] | seen["validation"]["script"])
    assert len(seen["test"]["cause"]) > 10


def test_habits_are_held_out_in_combination_alone() -> None:
    """In the split `habits` no combination is in two parts, and each single habit of the test part is in training."""
    planned = plan(800, seed=2)
    parts = {part: {combination(one.habits) for one in planned if one.parts["habits"] == part} for part in PARTS}
    assert not parts["test"] & (parts["train"] | parts["validation"])
    single = {part: {habit for one in parts[part] for habit in one} for part in PARTS}
    assert single["test"] <= single["train"]
    assert 0.15 < sum(one.parts["habits"] == "test" for one in planned) / 800 < 0.35


def test_each_part_can_show_each_label_whatever_the_habits() -> None:
    """The label of a run never needs other habits than those that were drawn."""
    known = catalogue(seed=4)
    for one in plan(400, seed=4):
        causes = known.causes[one.parts["causes"]]
        for label in LABELS[1:]:
            assert any(cause.label == label and evidence_kinds(cause, one.habits) for cause in causes)


def test_held_out_vocabularies_are_whole() -> None:
    """Two vocabularies are for tests, one is for validation."""
    assert sorted(held_out(seed=1).values()) == ["test", "test", "validation"]
    for one in plan(200, seed=1):
        assert one.parts["vocabulary"] == held_out(seed=1).get(one.habits.vocabulary, "train")


def test_a_failing_run_shows_its_fault(some: list[GeneratedRun]) -> None:
    """Failing runs name struck UEs, and a line of the cause if records are the evidence; passing runs have neither."""
    for run in some:
        if run.label == "Pass":
            assert (run.cause, run.evidence, run.written.root_line, run.failed_ues) == ("", "", None, ())
            continue
        assert BY_NAME[run.cause].label == run.label
        assert run.failed_ues
        if run.evidence == "records":
            assert run.written.root_line is not None
            assert run.written.last_symptom_line is not None
            assert run.written.last_symptom_line >= run.written.root_line


def test_records_of_a_cause_are_in_the_runs_that_carry_it(some: list[GeneratedRun]) -> None:
    """The first direct record has the words that the vocabulary of the run has for a step of the cause."""
    checked = 0
    for run in some:
        steps = BY_NAME[run.cause].steps if run.evidence == "records" else ()
        worded_steps = [step for step in steps if step.name in INVENTED]
        if BY_NAME.get(run.cause) is None or not worded_steps or BY_NAME[run.cause].stage == "cell":
            continue
        if len(worded_steps) < len(steps) or run.cause == "ring-buffer":
            continue  # other records of this cause have forms that were seen
        line = lines(run)[(run.written.root_line or 1) - 1]
        expected = [rendered(run.habits.vocabulary, step.name, BY_NAME[run.cause].values) for step in worded_steps]
        words = [set(re.findall(r"[A-Za-z]{3,}", text.split("\n")[0])) for text in expected]
        assert any(len(some_words & set(re.findall(r"[A-Za-z]{3,}", line))) >= 0.6 * len(some_words) for some_words in words)
        checked += 1
    assert checked > 15


def test_passing_runs_have_troubles_of_every_layer(some: list[GeneratedRun]) -> None:
    """What goes wrong in failing runs goes wrong in passing ones too, and is overcome."""
    passing = [run for run in some if run.label == "Pass"]
    overcome = {BY_NAME[cause].label for run in passing for cause in run.overcome}
    assert overcome == {"L0_L1", "L2", "L3"}
    assert sum(bool(run.overcome) for run in passing) > 0.7 * len(passing)


def test_written_corpus_is_read_for_training(tmp_path: Path) -> None:
    """The command writes what training reads: logs, and labels with four splits and their groups."""
    out = tmp_path / "corpus"
    assert main(["--out", str(out), "--runs", "160", "--seed", "7"]) == 0
    card = json.loads((out / "card.json").read_text())
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    details = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    assert card["runs"] == len(rows) == len(details) == len(list((out / "runs").iterdir())) == 160
    assert card["about"].startswith("Invented.")
    assert set(card["held_out_vocabularies"]) < set(VOCABULARIES)
    runs = read_predefined(out / "runs", out / "labels.csv", list(SPLITS))
    assert len(runs) == 160
    assert {"habits", "cause", "evidence", "struck_ues"} <= set(details[0])


def test_too_few_runs_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A corpus that no split could train or test on is not written."""
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path / "corpus"), "--runs", "20"])
    assert stop.value.code == 2
    assert "name more --runs" in capsys.readouterr().err


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes into no folder that it did not write before."""
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--runs", "160"]) == 2
    assert "contains other files" in capsys.readouterr().err


def test_the_audit_passes_on_few_runs(some: list[GeneratedRun]) -> None:
    """No crude feature tells the labels of a small corpus, within the limits for so few runs."""
    assert failures([*crude(some), *difficulty(some)]) == []


def test_giveaways_are_detected(some: list[GeneratedRun]) -> None:
    """A last line of one kind in failing runs, and longer logs of one label, are found."""
    bad = []
    for run in some:
        text = run.text
        if run.label != "Pass":
            text += b"01/01/20 00:00:00:000\tI: REBOOT - again\n" * {"L0_L1": 1, "L2": 2000, "L3": 9000}[run.label]
        bad.append(run._replace(written=run.written._replace(text=text)))
    missed = {figure.name for figure in crude(bad) if not figure.kept}
    assert {"accuracy by records of REBOOT alone", "accuracy by kind of the last line alone"} <= missed


@pytest.fixture(scope="module")
def runs() -> list[GeneratedRun]:
    return list(generate(700, seed=1))


@pytest.mark.slow
class TestAudit:
    """The audit on 700 runs, whose limits are wider than those of the whole corpus."""

    def test_all_figures_are_kept(self, runs: list[GeneratedRun]) -> None:
        """Every figure is within its limits."""
        assert failures(audit(runs)) == []

    def test_label_in_a_parameter_is_detected(self, runs: list[GeneratedRun]) -> None:
        """A value in the set-up that depends on the label makes labels predictable from it."""
        bad = []
        for run in runs:
            value = f" 6400{LABELS.index(run.label)}".encode()
            text = re.sub(rb"(Activate|MtsConfigPath|RrcAptConfigUeCap|MtsConfigUeGroup)", rb"\1" + value, run.text)
            bad.append(run._replace(written=run.written._replace(text=text)))
        assert not next(iter(set_up(bad))).kept
        assert next(iter(set_up(runs))).kept

    def test_every_cause_occurs(self, runs: list[GeneratedRun]) -> None:
        """Nearly every cause is the fault of some run, and every cause that may be overcome is overcome in some run."""
        faults = {run.cause for run in runs}
        assert len(faults & set(BY_NAME)) > 0.75 * len(BY_NAME)
        overcome = {cause for run in runs for cause in run.overcome}
        milds = {c.name for c in CAUSES if c.mild and c.stage not in ("cell", "negative")}
        assert len(overcome & milds) > 0.95 * len(milds)
