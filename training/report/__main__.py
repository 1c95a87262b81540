"""Runs `python -m training.report`; see `training/report/page.py`."""

from training.report.page import main

__all__: list[str] = []

raise SystemExit(main())
