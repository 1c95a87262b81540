"""Scripts that make model bundles from labelled runs. They import the product; the product never imports them."""

import sys
from importlib.util import find_spec

__all__: list[str] = []

# Every part of training needs scikit-learn, so this is where an environment without it is noticed. The other packages are
# imported where they are used, and `training.packages` names the remedy there.
if find_spec("sklearn") is None:
    print("error: the packages for training are not installed; run `make setup-training` in a checkout", file=sys.stderr)
    raise SystemExit(2)
