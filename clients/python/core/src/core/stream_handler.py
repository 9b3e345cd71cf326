"""Where `StreamHandler` used to be."""

from framehost import StreamHandler

__all__ = ["StreamHandler"]
