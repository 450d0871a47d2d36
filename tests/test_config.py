import math
from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs.config_providers_context import ConfigProvidersContainer
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from komos_source.config import (
    check_api_key,
    check_base_url,
    check_number,
    is_loopback,
    setting,
    settings_of,
)
from komos_source.exceptions import ConfigurationError, UsageError
from komos_source.settings_files import toml_problem
from komos_source.text import without_quotes


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


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[sources.komos]\napi_key = "sk_live_a"\n', None),
        (b'\xef\xbb\xbf[sources.komos]\napi_key = "sk_live_a"\n', None),
        (b"[sources.komos]\n\napi_key = CANARY\n", "line 3: this is not TOML; texts are in quot"),
        (b'[sources.komos]\napi_key = "CANARY\n', "line 2: this is not TOML"),
        (b"[a]\nb = 1\nb = 2\n", "line 3: this is not TOML"),
        (b"[a]\n# \xfc\n", "line 2: there is a character that is not in UTF-8"),
        ('[sources.komos]\napi_key = "CANARY"\n'.encode("utf-16"), "line 1: the file is in UTF-16"),
        ('[sources.komos]\napi_key = "CANARY"\n'.encode("utf-16-le"), "line 1: this is not TOML"),
    ],
)
def test_toml_problem_names_the_line_and_repeats_no_value(
    content: bytes, problem: str | None
) -> None:
    found = toml_problem(content)
    assert (found or "").startswith(problem or "")
    assert (found is None) is (problem is None)
    assert "CANARY" not in (found or "")


def test_setting_comes_from_each_provider_with_and_without_the_name_of_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place added is asked before those added so far."""
    run_secrets = tmp_path / "run-secrets"
    run_secrets.mkdir()
    monkeypatch.setattr(environ, "SECRET_STORAGE_PATH", f"{run_secrets}/%s")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dlt").mkdir()

    run_context = Container()[PluggableRunContext]

    def found(pipeline_name: str = "mine") -> object:
        providers = ConfigProvidersContainer(run_context.context.initial_providers())
        monkeypatch.setattr(run_context, "providers", providers)  # reads the files again
        with settings_of(pipeline_name):
            return setting("webhook_pepper")

    def write(name: str, section: str, value: str) -> None:
        with open(tmp_path / ".dlt" / name, "a") as file:
            file.write(f'[{section}sources.komos]\nwebhook_pepper = "{value}"\n')

    assert found() is None
    write("config.toml", "", "config")
    assert found() == "config"
    write("secrets.toml", "", "secrets")
    assert found() == "secrets"
    monkeypatch.setenv("SOURCES__KOMOS__WEBHOOK_PEPPER", ' "environment"\n')
    assert found() == "environment"
    (run_secrets / "sources--komos--webhook-pepper").write_text("file\n")
    assert found() == "file"
    write("config.toml", "mine.", "config of mine")
    assert [found(), found("mine_3_of_4"), found("other")] == ["config of mine"] * 2 + ["file"]
    write("secrets.toml", "mine.", "secrets of mine")
    assert found() == "secrets of mine"
    monkeypatch.setenv("MINE__SOURCES__KOMOS__WEBHOOK_PEPPER", "environment of mine")
    assert found() == "environment of mine"
    (run_secrets / "mine--sources--komos--webhook-pepper").write_text("file of mine")
    assert [found(), found("other")] == ["file of mine", "file"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a"', "a"),
        (" 'a b'\n", "a b"),
        ("a", "a"),
        ("\"a'", "\"a'"),
        ('"', '"'),
        ('""', ""),
        ("", ""),
    ],
)
def test_without_quotes_removes_blanks_and_one_pair_of_quotation_marks(
    text: str, value: str
) -> None:
    assert without_quotes(text) == value
