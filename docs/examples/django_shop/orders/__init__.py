"""An app with tasks, and a page to watch them."""

__all__ = ()
