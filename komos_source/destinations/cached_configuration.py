"""Reads configuration and capabilities of a destination once, not at each step of a load."""

from __future__ import annotations

from typing import Any


class CachedConfiguration:
    """A base class for destinations, before that of dlt.

    dlt asks for both some thirty times a load, and reads all settings of the destination each time:
    a third of the function calls of a load with nothing new.
    """

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """Returns the resolved configuration, the same object each time."""
        resolve: Any = super().configuration  # type: ignore[misc] # the next base class has it
        if accept_partial:
            return resolve(initial_config, accept_partial)
        known: dict[Any, Any] = self.__dict__.setdefault("_configurations", {})
        given = repr(dict(initial_config))  # the name of the dataset, for one
        if given not in known:
            known[given] = resolve(initial_config)
        return known[given]

    def capabilities(self, config: Any = None, naming: Any = None) -> Any:
        """Returns a copy of the `DestinationCapabilitiesContext`, which dlt may change."""
        read: Any = super().capabilities  # type: ignore[misc] # as above
        if config is not None:
            return read(config, naming)
        known: dict[Any, Any] = self.__dict__.setdefault("_capabilities", {})
        name = naming and naming.name()
        if name not in known:
            known[name] = read(None, naming)
        return known[name].copy()
