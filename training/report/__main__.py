"""`python -m training.report`."""

import sys

from training.report.page import main

__all__: list[str] = []

sys.exit(main())
