"""Figures of finished trainings in, training/RESULTS.md and its pictures out."""
