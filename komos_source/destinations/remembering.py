"""A destination of dlt's that works out its capabilities once.

dlt asks for them some thirty times a load, and each time resolves the whole configuration anew:
a tenth of a small load's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlt.common.destination import Destination

    _Base = Destination[Any, Any]
else:
    _Base = object


class RemembersCapabilities(_Base):
    """Goes before a destination of dlt's whose configuration does not change while it is in use."""

    def capabilities(self, config: Any = None, naming: Any = None) -> Any:
        """The capabilities, as `dlt.common.destination.Destination.capabilities`."""
        if config is not None:
            return super().capabilities(config, naming)
        known = self.__dict__.setdefault("_known_capabilities", {})
        key = naming and (type(naming), naming.max_length)
        if key not in known:
            known[key] = super().capabilities(None, naming)
        return known[key].copy()  # dlt sets file formats in what it gets
