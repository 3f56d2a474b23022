"""For `INSTALLED_APPS`: it installs the bridge when Django has loaded its apps."""

__all__ = ()
