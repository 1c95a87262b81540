"""The error that ends the shipper. Its message says what to do."""

__all__ = ["ShipError"]


class ShipError(Exception):
    """A wrong option, or a failure that waiting does not repair."""
