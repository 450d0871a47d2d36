"""Requests to an emulator, for the tests of the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from komos_source.api.client import KomosClient
from komos_source.exceptions import (
    KomosError,
    NotJsonError,
)
from komos_source.metrics import LoadMetrics
from komos_source.testing import Emulator

T = TypeVar("T")


def ask(
    emulator: Emulator, use: Callable[[KomosClient], Awaitable[T]], **options: Any
) -> tuple[T, LoadMetrics]:
    metrics = LoadMetrics()

    async def main() -> T:
        arguments = {"api_key": emulator.api_key, "base_url": emulator.base_url, "backoff": 0.01}
        async with KomosClient(**{**arguments, **options}, metrics=metrics) as client:  # type: ignore[arg-type] # tests override freely
            return await use(client)

    return asyncio.run(main()), metrics


def decode_ids(body: bytes | bytearray, _: datetime) -> list[str]:
    try:
        return [entry["id"] for entry in json.loads(body)["logEntries"]]
    except ValueError as error:
        raise NotJsonError(f"not JSON: {error}") from error


def log_of(run_id: str) -> Callable[[KomosClient], Awaitable[list[str]]]:
    async def read(client: KomosClient) -> list[str]:
        async with client.task_run_log(run_id, decode_ids) as answer:
            return answer.value

    return read


def logs_of(
    run_ids: Iterable[str],
) -> Callable[[KomosClient], Awaitable[list[list[str] | KomosError]]]:
    """Reads logs one after the other; an error is its own result."""

    async def read(client: KomosClient) -> list[list[str] | KomosError]:
        results: list[list[str] | KomosError] = []
        for run_id in run_ids:
            try:
                results.append(await log_of(run_id)(client))
            except KomosError as error:
                results.append(error)
        return results

    return read
