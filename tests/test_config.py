import math

import pytest

from komos_source.config import check_api_key, check_base_url, check_number, is_loopback
from komos_source.exceptions import ConfigurationError, UsageError


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.komos.ai",
        "ftp://api.komos.ai",
        "http://api.komos.ai",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.999",
        "http://127.٠.0.1",
        "http://[::2]",
        "https://",
        "https://api.komos.ai/public/v1",
        "https://api.komos.ai?",
        "https://api.komos.ai#",
        "https://api.komos.ai#fragment",
        "https://@evil.example",
        "https://api.komos.ai\\@evil.example",
        "https://api.komos.ai:port",
        "https://api.komos.ai:99999",
        "https://api.komos.ai\n",
        " https://api.komos.ai",
        "https://api.ko mos.ai",
        "https://api.komos.ai\x00",
        "https://api.komos.ai\u00a0",
        "https://münchen.example",
        "https://a,b.example",
        "https://[::1",
    ],
)
def test_check_base_url_refuses_what_would_leak_the_key_or_not_reach_the_api(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"https"):
        check_base_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:CANARY@api.komos.ai",
        "https://user:CANARY@h:bad",
        "ftp://user:CANARY@h",
        "http://user:CANARY@h",
        "https://user:CANARY@h\n",
        "https://h/?token=CANARY",
        "https://h/#CANARY",
    ],
)
def test_check_base_url_does_not_repeat_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(url)
    assert "CANARY" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("https://api.komos.ai", "https://api.komos.ai"),
        ("HTTPS://API.Komos.ai/", "https://api.komos.ai"),
        ("Http://LOCALHOST:80", "http://localhost:80"),
        ("http://[::1]:1/", "http://[::1]:1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.1.2.3", "http://127.1.2.3"),
    ],
)
def test_check_base_url_returns_the_normalised_url(url: str, normalised: str) -> None:
    assert check_base_url(url) == normalised
    assert check_base_url(normalised) == normalised


def test_is_loopback_accepts_names_and_addresses_of_this_machine_only() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.255.0.1", "::1"]))
    assert not any(map(is_loopback, ["localhost.", "127.1", "2130706433", "0.0.0.0", "::", ""]))


@pytest.mark.parametrize(
    "key", ["", "  ", "sk_live_a b", "sk_live_a\nX: y", "sk_live_…", '"sk_live_a"', "'sk_live_a'"]
)
def test_check_api_key_refuses_what_is_no_key_without_repeating_it(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(key)
    assert not key.strip() or key not in str(caught.value)


def test_check_api_key_strips_white_space() -> None:
    assert check_api_key(" sk_live_a\n") == "sk_live_a"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.001, 1e300])
def test_check_number_refuses_what_is_out_of_range(value: float) -> None:
    with pytest.raises(UsageError, match="settle_after must be from 0 to 1e"):
        check_number("settle_after", value, 0)


@pytest.mark.parametrize("value", [0, 0.5, 1_000_000_000])
def test_check_number_accepts_what_is_in_range(value: float) -> None:
    check_number("settle_after", value, 0)
