"""What ML services used to import from their own `core`: the same names, served by framehost."""

from framehost import RustFileProvider, StreamHandler

__all__ = ["RustFileProvider", "StreamHandler"]
