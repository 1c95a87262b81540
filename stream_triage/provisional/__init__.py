"""Verdicts on runs that are still open: when to look, where to publish, whom to call when a run is certain to fail."""
