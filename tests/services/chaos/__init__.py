"""Injects faults into a farm while runs come in, and compares what every sink has with what was sent.

    python -m tests.services.chaos --faults 600

`registry` has the kinds of fault, which the other modules add, one subject each. `world` is the farm that they act on,
`ledger` what was sent, `outcome` what came out, and `invariants` what must be true of both.
"""
