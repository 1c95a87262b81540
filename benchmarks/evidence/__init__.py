"""How often the first evidence lines of a failing run are its cause: `python -m benchmarks.evidence --data DIR`."""
