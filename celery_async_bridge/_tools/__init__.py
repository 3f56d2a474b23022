"""What keeps the package in step with upstream: surface data and the ledger."""

__all__ = ()
