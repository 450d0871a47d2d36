"""The image and its services: each step in a sandbox with a read-only root, real Postgres."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml

from komos_source.testing import Emulator, FakeKomos, Webhooks
from tests.sandbox import ROOT, Image, build

pytestmark = pytest.mark.slow

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
SERVICES = sorted(COMPOSE.keys() - {"postgres"})
SECRET = "wh_test_2f6b8a"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def environment(emulator: Emulator, postgres_url: str) -> dict[str, str]:
    """The environment of the services, with the test's own API and database."""
    return {
        "SOURCES__KOMOS__API_KEY": emulator.api_key,
        "SOURCES__KOMOS__BASE_URL": emulator.base_url,
        "SOURCES__KOMOS__SPOOL": postgres_url.replace("postgresql:", "postgresql+psycopg:"),
        "SOURCES__KOMOS__NOTIFY": "",
        "DESTINATION__POSTGRES__CREDENTIALS": postgres_url,
        "KOMOS_LOG_FORMAT": "json",
    }


@pytest.fixture
def sockets(postgres_url: str) -> Path:
    directory = Path(str(sqlalchemy.make_url(postgres_url).query["host"]))
    directory.chmod(0o711)  # another user may connect
    return directory


def service(image: Image, name: str) -> list[str]:
    """The program and the arguments of a service; a loop ends where it would wait."""
    entrypoint = COMPOSE[name].get("entrypoint", image.entrypoint)
    return [re.sub(r"sleep \d+", "exit", each) for each in (*entrypoint, *COMPOSE[name]["command"])]


def wait_for(condition: Any, process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 120
    while not (result := condition()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[0])
        time.sleep(0.2)
    return result


def test_image_runs_the_command_as_an_ordinary_user_and_writes_only_its_volume(
    image: Image,
) -> None:
    code, output = image.run([*image.entrypoint, "--version"])
    assert (code, output.startswith("komos")) == (0, True), output
    code, output = image.run(["sh", "-c", "id -u; touch /opt/x /x; touch /data/x && echo written"])
    assert "10001" in output
    assert output.count("Read-only file system") == 2
    assert "written" in output


def test_services_receive_load_check_and_prune_into_postgres(
    image: Image,
    environment: dict[str, str],
    sockets: Path,
    world: FakeKomos,
    postgres_url: str,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = str(reserved.getsockname()[1])
    receiving = {**environment, "SOURCES__KOMOS__WEBHOOK_SECRET": SECRET}
    receiver = image.start(
        [*service(image, "receiver"), "--port", port], receiving, sockets=sockets
    )
    loader: subprocess.Popen[str] | None = None
    engine = sqlalchemy.create_engine(postgres_url)

    def check(name: str) -> int:
        _, *arguments = (
            each.replace("8766", port) for each in COMPOSE[name]["healthcheck"]["test"]
        )
        return image.run(arguments, receiving, sockets=sockets)[0]

    def messages() -> set[str]:
        if not sqlalchemy.inspect(engine).has_table("task_run_logs", schema="komos"):
            return set()
        with engine.connect() as connection:
            query = "SELECT message FROM komos.task_run_logs"
            return {*connection.exec_driver_sql(query).scalars()}

    try:
        wait_for(lambda: check("receiver") == 0, receiver)
        run_id = world.add_run(world.add_task("Orders"))
        world.append(run_id, {"message": "polled"})
        loader = image.start(service(image, "loader"), environment, sockets=sockets)
        wait_for(lambda: "polled" in messages(), loader)
        with Webhooks(world, f"http://127.0.0.1:{port}/webhooks/komos", SECRET):
            world.append(run_id, {"message": "pushed"})
            wait_for(lambda: "pushed" in messages(), loader)
        assert check("loader") == 0
        for name in ("health", "prune"):
            code, output = image.run(service(image, name), environment, sockets=sockets)
            assert code == 0, output
        loader.send_signal(signal.SIGTERM)
    finally:
        for process in filter(None, (receiver, loader)):
            process.terminate()
            process.communicate(timeout=60)
        engine.dispose()
    assert messages() == {"polled", "pushed"}


def test_kubernetes_job_loads_into_postgres(
    image: Image, environment: dict[str, str], sockets: Path, world: FakeKomos
) -> None:
    world.append(world.add_run(world.add_task("Orders")), {})
    job = yaml.safe_load((ROOT / "deploy/kubernetes/load.yaml").read_text())
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    arguments = [*image.entrypoint, *container["args"]]
    code, output = image.run(arguments, environment, sockets=sockets)
    assert code == 0, output
    assert '"entries_loaded": 1' in output


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_a_read_only_root_and_no_capabilities(name: str) -> None:
    assert COMPOSE[name]["read_only"]
    assert COMPOSE[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy/kubernetes").glob("*.yaml")), ids=lambda p: p.stem
)
def test_kubernetes_manifest_is_valid_and_its_pods_are_restricted(path: Path) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for manifest in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(manifest, "1.37", strict=True)
