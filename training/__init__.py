"""Trains model bundles from labelled runs and evaluates them. Training imports the product; the product never imports it."""

import sys

from training.packages import REMEDY, is_installed

__all__: list[str] = []

# Every part of training needs scikit-learn, so an environment without the packages for training is noticed here, in one
# line. The larger packages are imported where they are used.
if not is_installed("sklearn"):
    print(f"error: the packages for training are not installed; {REMEDY}", file=sys.stderr)
    raise SystemExit(2)
