"""Stored verdicts in; pages for a browser out, by a server (`app.py`) or as one file (`report.py`)."""
