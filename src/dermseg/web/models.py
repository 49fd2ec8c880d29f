"""The models that a service offers: those that it was started with, loaded when they are needed."""

from collections.abc import Callable, Mapping
from threading import Lock

from dermseg.inference.segmenter import Segmenter

Load = Callable[[], Segmenter]


class Models:
    """The first model, which is loaded, and others by name, each loaded at its first use.

    Threads may share it; those that ask for a model while it is loaded wait for it.
    """

    def __init__(self, first: Segmenter, others: Mapping[str, Load]) -> None:
        self._loaded = {first.name: first}
        self._others = others
        self._locks = {name: Lock() for name in others}
        self.first = first
        self.names = (first.name, *others)

    def loaded(self, name: str) -> Segmenter | None:
        """Return a model if it has been loaded."""
        return self._loaded.get(name)

    def get(self, name: str) -> Segmenter:
        """Return a model of `names`, loaded now if need be; ModelError if it cannot be."""
        if name in self._loaded:
            return self._loaded[name]
        with self._locks[name]:
            if name not in self._loaded:
                self._loaded[name] = self._others[name]()
        return self._loaded[name]
