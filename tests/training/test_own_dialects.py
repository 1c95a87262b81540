"""Training with a user's own dialects: the procedures of their logs are learned, and the bundle asks for the same files."""

from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle, BundleError, Triage
from stream_triage.bundle import write_bundle
from stream_triage.dialects import load_dialect
from tests.commands import call
from tests.dialects.test_own import OWN
from training.data import LabelledRun, MaskedRuns
from training.evaluate import judge
from training.fit.bundle import Corpus, fit_bundle
from training.fit.settings import BundleSettings

pytestmark = pytest.mark.slow


def run(number: int) -> LabelledRun:
    """A run of a program that no packaged dialect knows; every second one fails."""
    fails = number % 2
    lines = [f"2024-01-02 03:04:{second:02} [sched] slot {second} of frame {number}" for second in range(20)]
    if fails:
        lines[9] = f"2024-01-02 03:04:09 [sched] preamble lost ue={number % 7}"
    text = "".join(f"{line}\n" for line in lines).encode()
    return LabelledRun(str(number), "L2" if fails else "Pass", {"": text}, {"group": str(number)})


@pytest.fixture
def own(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(OWN)
    return (load_dialect(tmp_path / "mine.toml"),)


def fit(**settings) -> Bundle:
    runs = [run(number) for number in range(60)]
    corpus = Corpus(runs, MaskedRuns(runs), ("Pass", "L2"), "Pass", ("group",))
    return fit_bundle(corpus, np.arange(60), "group", 0, BundleSettings("mine", models="baseline", **settings)).bundle


def test_procedures_are_learned_with_the_dialect_alone(own) -> None:
    """Without it, no line of these logs is about a procedure. The card names what the bundle was trained with."""
    assert "procedures" not in fit().card.classifiers
    bundle = fit(dialects=own)
    assert "procedures" in bundle.card.classifiers
    assert bundle.card.training["dialects"] == ["mine"]
    (verdict,) = judge(bundle, [run(61)], Triage(bundle, dialects=own).redactor, 65_536, own)
    assert verdict.label == "L2"
    assert verdict.ues
    assert verdict.ues.failed == 1


def test_the_bundle_does_not_open_without_the_dialect(own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores would mean something else; the error says what to set, and `check` is content once it is set."""
    bundle = fit(dialects=own)
    with pytest.raises(BundleError, match="trained with the dialect 'mine', which is missing; name its file in the setting"):
        Triage(bundle)
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle", bundle.card, {name: bundle.data(name) for name in bundle.card.files})
    assert "wrong  bundle: bundle mine was trained with the dialect" in call("check", "-b", "./bundle").out
    assert call("check", "-b", "./bundle", "--dialect", "mine.toml").code == 0
    (tmp_path / "a.log").write_bytes(run(1).sources[""])
    assert "UEs: 1, failed: 1" in call("dialect", "mine.toml", "a.log", "-b", "./bundle").out
    (tmp_path / "bundle" / "dialects").mkdir()
    (tmp_path / "mine.toml").rename(tmp_path / "bundle" / "dialects" / "mine.toml")
    assert call("check", "-b", "./bundle").code == 0
