import asyncio

from komos_source.api.rate_limit import ByteBudget, Pause


def test_what_does_not_fit_waits_until_room_is_given_back() -> None:
    async def main() -> list[str]:
        budget = ByteBudget(10)
        seen: list[str] = []

        async def hold(name: str, size: int, until: asyncio.Event) -> None:
            await budget.take(size)
            seen.append(name)
            await until.wait()
            await budget.give(size)

        release = [asyncio.Event() for _ in range(4)]
        sizes = {"six": 6, "four": 4, "larger than all": 50, "small": 1}
        tasks = []
        for (name, size), event in zip(sizes.items(), release, strict=True):
            tasks.append(asyncio.create_task(hold(name, size, event)))
            await asyncio.sleep(0)
        for event in release:
            await asyncio.sleep(0.01)
            seen.append("|")
            event.set()
        await asyncio.gather(*tasks)
        return seen

    # The large one goes in alone, and nobody overtakes it.
    assert asyncio.run(main()) == ["six", "four", "|", "|", "larger than all", "|", "small", "|"]


def test_a_pause_extended_while_waiting_is_waited_for_too() -> None:
    async def main() -> float:
        pause = Pause()
        loop = asyncio.get_running_loop()
        started = loop.time()
        pause.extend(0.05)
        waiting = asyncio.create_task(pause.wait())
        await asyncio.sleep(0.01)
        pause.extend(0.15)
        await waiting
        return loop.time() - started

    assert asyncio.run(main()) >= 0.15
