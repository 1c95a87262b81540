"""Makes training/RESULTS.md and its pictures from the figures that finished trainings left in training/results/."""
