"""URLs of targets: what is shown of them, and what tells them apart."""

from __future__ import annotations

import logging

import pytest

from komos_source.alerts.targets import configured_targets, parse_targets
from komos_source.exceptions import ConfigurationError, UsageError

SECRETS = {
    "mailto://user:hunter2@mail.example.com:2525?to=a@example.com": "mailto://mail.example.com",
    "jsons://hooks.example.com/hook/hunter2": "jsons://hooks.example.com",
    "slack://hunter2AAA/hunter2BBB/hunter2CCCCCCCCCCCCCCCCCC/#alerts": "slack://…",
    "pagerduty://hunter2@hunter2/source/component": "pagerduty://…",
    "discord://4174216298/hunter2JkUuPMrMjq0qBc8r": "discord://…",
}


@pytest.mark.parametrize("url", SECRETS)
def test_target_shows_scheme_and_host_but_no_secret(url: str) -> None:
    (target,) = parse_targets([url])
    assert target.shown == SECRETS[url]
    for text in (repr(target), str(target), target.id):
        assert "hunter2" not in text


def test_target_stays_the_same_when_its_password_changes() -> None:
    urls = [
        "json://user:old@hooks.example.com/a",
        "json://user:new@hooks.example.com/a",
        "json://user:new@hooks.example.com/b",
    ]
    old, new, other = (parse_targets([url])[0].id for url in urls)
    assert old == new != other


@pytest.mark.parametrize("url", ["hunter2", "nothing://hunter2", "slack://hunter2", "json://["])
def test_target_that_apprise_does_not_know_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError, match="is not a target that Apprise knows") as refused:
        parse_targets([url])
    assert "hunter2" not in str(refused.value)


def test_configured_targets_are_separated_by_blanks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert configured_targets() == []
    monkeypatch.setenv("SOURCES__KOMOS__NOTIFY", " json://a.example.com  json://b.example.com ")
    assert configured_targets() == ["json://a.example.com", "json://b.example.com"]


def test_target_without_apprise_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(ConfigurationError, match=r"\[notify\]"):
        parse_targets(["json://a.example.com"])


def test_failed_delivery_logs_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    (target,) = parse_targets(["json://user:hunter2@127.0.0.1:9/hunter2"])
    with caplog.at_level(logging.DEBUG):
        assert not target.send("title", "body")
    assert "hunter2" not in caplog.text
