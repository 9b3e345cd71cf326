"""Where `RustFileProvider` used to be."""

from framehost import RustFileProvider

__all__ = ["RustFileProvider"]
