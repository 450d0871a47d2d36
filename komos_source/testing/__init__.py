"""A stateful Komos API on a real socket, for tests, demonstrations and benchmarks.

from komos_source.testing import Emulator, made_history

with Emulator(made_history(seed=7)) as emulator:
    ...  # emulator.base_url, emulator.api_key, emulator.world, emulator.faults
"""

from komos_source.testing.faults import Fault, Faults
from komos_source.testing.history import Stories, bulk_world, grow, made_history
from komos_source.testing.server import Emulator
from komos_source.testing.webhooks import Webhooks
from komos_source.testing.world import World, WorldClock

__all__ = [
    "Emulator",
    "Fault",
    "Faults",
    "Stories",
    "Webhooks",
    "World",
    "WorldClock",
    "bulk_world",
    "grow",
    "made_history",
]
