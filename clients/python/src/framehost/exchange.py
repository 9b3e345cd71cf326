"""Functions of others that do something else for a while."""

import inspect
import types


class Exchange:
    """A function whose code is another's until `undo`.

    Its code, not its name: whoever has imported it by name, before or after, calls the same object. `original` is the
    function as it was.
    """

    def __init__(self, function, make):
        """`make(original)` gives what is called instead."""
        self._function = function = inspect.unwrap(function)
        self._saved = (function.__code__, function.__kwdefaults__)
        original = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
        original.__kwdefaults__ = function.__kwdefaults__
        self.original = original
        function.__signature__ = inspect.signature(original)
        # The code finds its way by a default, as it has no other names of ours. Defaults come first and stay beside it:
        # another thread may be calling the function.
        function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), "_instead": make(original)}
        function.__code__ = _call.__code__

    def undo(self):
        """Gives the function its code back."""
        function = self._function
        function.__code__, function.__kwdefaults__ = self._saved
        del function.__signature__


class Replacement:
    """As `Exchange`, of a method whose code needs its class: `super()` takes it from where other code has none."""

    def __init__(self, owner, name, make):
        self._place = (owner, name)
        self.original = getattr(owner, name)
        setattr(owner, name, make(self.original))

    def undo(self):
        """Puts the method back."""
        setattr(*self._place, self.original)


def _call(*args, _instead=None, **kwargs):
    return _instead(*args, **kwargs)
