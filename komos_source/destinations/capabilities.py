"""Reads the capabilities of a destination once, not at each step of a load."""

from __future__ import annotations

from typing import Any


class CachedCapabilities:
    """A base class for destinations, before that of dlt.

    dlt asks for the capabilities some thirty times a load, and reads all settings of the
    destination each time: a sixth of the processor time of a load with nothing new.
    """

    def capabilities(self, config: Any = None, naming: Any = None) -> Any:
        """Returns a copy of the `DestinationCapabilitiesContext`, which dlt may change."""
        read: Any = super().capabilities  # type: ignore[misc] # the next base class has it
        if config is not None:
            return read(config, naming)
        known: dict[Any, Any] = self.__dict__.setdefault("_capabilities", {})
        name = naming and naming.name()
        if name not in known:
            known[name] = read(None, naming)
        return known[name].copy()
