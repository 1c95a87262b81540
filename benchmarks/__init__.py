"""Measurements of speed, memory and delay; `python -m benchmarks.NAME --help` describes each one."""
