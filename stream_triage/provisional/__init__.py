"""Verdicts on open runs: when one is given, where it goes, and who is called when a run is certain to fail."""
