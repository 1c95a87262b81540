"""Changes that the experiment makes to passing runs."""

import numpy as np

from training.experiments.order import CHANGES, changed


def test_changes_of_the_experiment_are_of_order_alone() -> None:
    """No key is added that the run does not have, none disappears, and the last line and short sources stay."""
    keys = [0, *[1, 2, 3, 4, 5, 6] * 20, 7]
    for seed, change in enumerate([*CHANGES.values()] * 10):
        run = changed({"": (keys, []), "short": ([0, 7], [])}, change, np.random.default_rng(seed))
        assert run["short"] == ([0, 7], [])
        assert run[""][0] != keys
        assert set(run[""][0]) == set(keys)
        assert len(run[""][0]) - len(keys) in (-1, 0, 5)
        assert run[""][0][-1] == 7
