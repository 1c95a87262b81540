"""Sends the logs of test runs to Kafka while they grow."""

__version__ = "0.1.0"
