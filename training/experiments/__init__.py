"""Experiments that a choice in the product rests on. Each is a command of its own and writes to training/results/."""
