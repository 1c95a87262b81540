"""Verdicts in, messages to teams out: which rule fires, what waits in the outbox, how it is sent."""
