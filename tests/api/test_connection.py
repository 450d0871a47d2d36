"""Proxies and certificates: which are used, and messages that name the variable."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from komos_source.api.client import KomosClient
from komos_source.api.connection import describe_connection_error, proxy_for
from komos_source.exceptions import ApiUnreachableError, ConfigurationError

PROXY = {"HTTPS_PROXY": "http://user:CANARY@proxy.example:3128"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HTTP_PROXY")
    for name in (*proxies, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "None"),
        ({"HTTP_PROXY": "http://proxy.example"}, "None"),
        ({"HTTPS_PROXY": ""}, "None"),
        (PROXY, "proxy.example:3128 (HTTPS_PROXY)"),
        (PROXY | {"https_proxy": "other.example:80"}, "other.example (https_proxy)"),
        ({"ALL_PROXY": "socks5://proxy.example:1080"}, "proxy.example:1080 (ALL_PROXY)"),
        (PROXY | {"NO_PROXY": "komos.ai"}, "None"),
    ],
)
def test_proxy_for_takes_the_first_variable_that_is_set(
    environment: dict[str, str], shown: str
) -> None:
    assert str(proxy_for("api.komos.ai", environment)) == shown


@pytest.mark.parametrize(
    ("host", "no_proxy", "bypassed"),
    [
        ("api.komos.ai", "*", True),
        ("api.komos.ai", "localhost, .komos.ai", True),
        ("api.komos.ai", "*.komos.ai:443", True),
        ("api.komos.ai", "api.komos.ai", True),
        ("api.komos.ai", "i.komos.ai,omos.ai", False),
        ("api.komos.ai", "::1,[::1],fe80::/64,10.0.0.0/8,[", False),
        ("api.komos.ai", "", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("fd00::5", "[fd00::5]", True),
        ("fd00::5", "fd00::/8", True),
        ("fd00::5", "10.0.0.0/8,::1", False),
        ("::1", "", True),
        ("127.0.0.1", "", True),
    ],
)
def test_proxy_for_a_host_that_no_proxy_names_is_none(
    host: str, no_proxy: str, bypassed: bool
) -> None:
    assert (proxy_for(host, PROXY | {"NO_PROXY": no_proxy}) is None) is bypassed


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "url", ["gopher://CANARY@h:1", "http://", "http://h:CANARY", "socks4://CANARY@h"]
)
def test_client_with_a_wrong_proxy_names_the_variable_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(ConfigurationError, match=f"^{name} is not the URL of a proxy") as caught:
        KomosClient("sk_live_test")
    assert "CANARY" not in str(caught.value)


def test_client_with_a_socks_proxy_names_the_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://user:CANARY@proxy.example:1080")
    expected = r"^the proxy proxy.example:1080 \(ALL_PROXY\) is a SOCKS proxy.*httpx\[socks\]"
    with pytest.raises(ConfigurationError, match=expected):
        KomosClient("sk_live_test")


async def _first_page() -> None:
    async with KomosClient("sk_live_test", "https://komos.example", backoff=0.001) as client:
        async for _ in client.tasks():
            return


def test_client_whose_proxy_is_down_names_it_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:CANARY@127.0.0.1:{port}")
    expected = rf"^komos.example cannot be reached through the proxy 127.0.0.1:{port} \(HTTPS_P"
    with pytest.raises(ApiUnreachableError, match=expected) as caught:
        asyncio.run(_first_page())
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("SSL_CERT_FILE", None, "No such file or directory"),
        ("SSL_CERT_FILE", "no certificate", "NO_CERTIFICATE_OR_CRL_FOUND"),
        ("SSL_CERT_DIR", None, "there is no such directory"),
    ],
)
def test_client_with_unusable_certificates_names_the_variable_and_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str | None, reason: str
) -> None:
    path = tmp_path / "certificates"
    if content:
        path.write_text(content)
    monkeypatch.setenv(name, str(path))
    with pytest.raises(ConfigurationError) as caught:
        KomosClient("sk_live_test")
    assert str(caught.value).startswith(f"{name} is '{path}', which cannot be used: {reason}. Set")


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({}, "set SSL_CERT_FILE to a file with its CA)"),
        (
            {"REQUESTS_CA_BUNDLE": "ca.pem"},
            "set SSL_CERT_FILE to a file with its CA; REQUESTS_CA_BUNDLE is not used)",
        ),
        ({"SSL_CERT_FILE": "ca.pem"}, "look at SSL_CERT_FILE)"),
    ],
)
def test_describe_connection_error_of_a_refused_certificate_names_the_variable(
    environment: dict[str, str], advice: str
) -> None:
    error = OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    assert describe_connection_error(error, environment).endswith(f"private authority, {advice}")
    assert describe_connection_error(OSError("refused"), environment) == "OSError: refused"
