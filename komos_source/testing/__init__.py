"""A stateful Komos API on a real socket, for tests, demonstrations and benchmarks.

from komos_source.testing import Emulator, make_sample_data

with Emulator(make_sample_data(seed=7)) as emulator:
    ...  # emulator.base_url, emulator.api_key, emulator.world, emulator.faults
"""

from komos_source.testing.faults import Fault, Faults
from komos_source.testing.sample_data import PlantedPatterns, bulk_world, grow, make_sample_data
from komos_source.testing.server import Emulator
from komos_source.testing.webhooks import Webhooks
from komos_source.testing.world import FakeKomos, WorldClock

__all__ = [
    "Emulator",
    "FakeKomos",
    "Fault",
    "Faults",
    "PlantedPatterns",
    "Webhooks",
    "WorldClock",
    "bulk_world",
    "grow",
    "make_sample_data",
]
