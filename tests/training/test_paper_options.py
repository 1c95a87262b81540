"""What the published networks need beside torch: options of the command, sizes, and characters as numbers."""

import numpy as np
import pytest

from training.data import LabelledRun
from training.paper.characters import Characters, load_embedding, save_embedding
from training.paper.compare import CONTEXTS, Texts, main, trials


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "LSTM"], "no trial is called 'LSTM'; there is CNN; CNN, random embedding; BiLSTM + CNN"),
        (["--pool", "257"], "the pool is 257; it must be from 1 to 256"),
        ([], "none is not a folder"),
    ],
)
def test_wrong_options_are_rejected_before_anything_is_trained(flags, message, tmp_path, capsys):
    """The command ends with exit 2 and names what there is."""
    try:
        code = main(["--logs", "none", "--labels", "none.csv", "--split", "easy", "--out", str(tmp_path / "rows"), *flags])
    except SystemExit as stop:  # of argparse
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_an_embedding_is_loaded_for_other_characters(tmp_path) -> None:
    """Rows are matched by character, in any order and number; an unknown character gets the row of unknown ones."""
    weights = np.arange(10, dtype=np.float32).reshape(5, 2)
    save_embedding(tmp_path / "e.npz", Characters("abcd"), weights)
    rows = load_embedding(tmp_path / "e.npz", Characters("dbx"))
    assert np.array_equal(rows, weights[[0, 2, 4, 0]])  # padding, b, d, x


def test_texts_know_the_characters_of_the_training_part_alone() -> None:
    """A character of the test part that training does not have is unknown; with `distinct` repeated lines are dropped."""
    parts = {"train": b"I: abc\nI: abc\nC: ab\n", "validation": b"I: a\n", "test": b"I: xyz\n"}
    runs = [LabelledRun(name, "Pass", {"": text}, {}, {"new": name}) for name, text in parts.items()]
    texts = Texts(runs, "new")
    assert (texts.training, texts.validation, texts.test) == ([0], [1], [2])
    assert texts.characters.characters == ["\n", " ", ":", "C", "I", "a", "b", "c"]
    assert texts.logs[2].tolist()[-3:] == [0, 0, 0]
    assert texts.block_length == 6
    assert len(Texts(runs, "new", distinct=True).logs[0]) == len(texts.logs[0]) - len("I: abc\n")


def test_trials_vary_one_thing_each() -> None:
    """A given context holds for all trials but those that vary it, and the main pair comes first."""
    every = list(trials(2_000))
    assert [trial.name for trial in every[:2]] == ["CNN", "CNN, random embedding"]
    varied = [trial.context for trial in every if trial.name.startswith("CNN, context")]
    assert varied == list(CONTEXTS)
    assert {trial.context for trial in every if not trial.name.startswith("CNN, context")} == {2_000}
