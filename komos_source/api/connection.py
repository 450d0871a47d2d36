"""The connection to the API: certificates and proxies, as environment variables name them.

The variables are evaluated here and not by httpx: its errors do not name the variable, and it fails
at IPv6 addresses in ``NO_PROXY``.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from komos_source import settings
from komos_source.config import is_loopback
from komos_source.exceptions import ConfigurationError

_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class ProxySetting:
    """A proxy and where it is configured.

    Attributes:
        url: The URL, which may hold a password.
        source: The environment variable, or what else configures it.
    """

    url: httpx.URL
    source: str

    def __str__(self) -> str:
        """Host and port, and where they are from."""
        return f"{self.url.netloc.decode()} ({self.source})"


def http_client(
    api_key: str, max_concurrency: int, proxy: ProxySetting | None
) -> httpx.AsyncClient:
    """Creates the HTTP client.

    Raises:
        ConfigurationError: The certificates or the proxy cannot be used.
    """
    certificates = _ssl_context()
    try:
        return httpx.AsyncClient(
            headers={
                "Authorization": f"Bearer {api_key}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "Cache-Control": "no-cache",
            },
            timeout=httpx.Timeout(settings.READ_TIMEOUT, connect=settings.CONNECT_TIMEOUT),
            limits=httpx.Limits(max_keepalive_connections=max_concurrency),
            verify=certificates,
            proxy=None if proxy is None else _httpx_proxy(proxy.url, certificates),
            trust_env=False,
        )
    except ImportError as error:
        raise ConfigurationError(
            f"the proxy {proxy} is a SOCKS proxy, which needs a package: pip install 'httpx[socks]'"
        ) from error


def proxy_for(host: str, environment: Mapping[str, str]) -> ProxySetting | None:
    """Returns the proxy that requests to a host have to go through, if one is configured.

    Raises:
        ConfigurationError: It is not a URL of a proxy. The message does not repeat it, as it may
            hold a password.
    """
    # Plain http is for loopback only, and must not take the key to a proxy on its way.
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if is_loopback(host) or _bypasses_proxy(host, no_proxy):
        return None
    for name in _PROXY_VARIABLES:
        if value := environment.get(name, "").strip():
            break
    else:  # on macOS and Windows
        name, value = "the settings of the system", urllib.request.getproxies().get("https", "")
    if not value:
        return None
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https", "socks5", "socks5h"} or not url.host:
        raise ConfigurationError(
            f"{name} is not the URL of a proxy: set it to scheme, host and port, such as "
            "http://proxy.example:3128"
        )
    return ProxySetting(url, name)


def _bypasses_proxy(host: str, no_proxy: str) -> bool:
    """Returns whether ``NO_PROXY`` names a host: itself, a domain above it, or a network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in no_proxy.lower().replace(",", " ").split():
        try:
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            name = entry.partition(":")[0].lstrip("*").lstrip(".")
            if entry == "*" or (name and f".{host}".endswith(f".{name}")):
                return True
        else:
            if address is not None and address in network:
                return True
    return False


def describe_connection_error(error: Exception, environment: Mapping[str, str]) -> str:
    """Returns what failed, and for a refused certificate which variable to set."""
    text = f"{type(error).__name__}: {error}"
    if "CERTIFICATE_VERIFY_FAILED" not in text:
        return text
    configured = next((name for name in _CERTIFICATES if environment.get(name)), None)
    advice = f"look at {configured}" if configured else "set SSL_CERT_FILE to a file with its CA"
    ignored = "; REQUESTS_CA_BUNDLE is not used" if environment.get("REQUESTS_CA_BUNDLE") else ""
    return f"{text} (if the certificate is from a private authority, {advice}{ignored})"


_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def _ssl_context() -> ssl.SSLContext:
    name = next((name for name in _CERTIFICATES if os.environ.get(name)), "")
    path = os.environ.get(name, "")
    try:
        if name == "SSL_CERT_DIR" and not Path(path).is_dir():
            raise NotADirectoryError(0, "there is no such directory")
        return httpx.create_ssl_context()
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ConfigurationError(
            f"{name} is {path!r}, which cannot be used: {reason}. Set it to PEM certificates of "
            "the authorities to accept, or remove it."
        ) from error


def _httpx_proxy(url: httpx.URL, certificates: ssl.SSLContext) -> httpx.Proxy:
    return httpx.Proxy(url, ssl_context=certificates if url.scheme == "https" else None)
