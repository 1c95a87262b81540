"""Measurements of speed, memory, delay and redaction; `python -m benchmarks.NAME --help` describes each one."""
