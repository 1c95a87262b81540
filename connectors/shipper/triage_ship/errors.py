"""What ends the shipper, with what to do."""

__all__ = ["ShipError"]


class ShipError(Exception):
    """A wrong setting, or a fault that waiting does not mend."""
