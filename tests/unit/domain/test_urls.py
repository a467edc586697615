"""A URL is shown to people without the secrets in it."""

import pytest

from worker.domain.urls import masked, masked_whole


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("smtp://u:p@mail/?from=a@b.c", "smtp://u:***@mail/?from=a@b.c"),
        ("smtp://u@b.c:p@mail:587/?from=a@b.c", "smtp://u@b.c:***@mail:587/?from=a@b.c"),
        ("smtp://mail/?from=a@b.c&password=file:/run/pw", "smtp://mail/?from=a@b.c&password=file:/run/pw"),
        ("smtp://mail/?password=hunter2", "smtp://mail/?password=***"),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("rediss://u:p@a:1/0;rediss://u:p@b:2/0", "rediss://u:***@a:1/0;rediss://u:***@b:2/0"),
        ("redis://:hun/ter2@cache", "redis://***"),
        ("redis://:hun?ter2@cache", "redis://***"),
        ("redis://:hun#ter2@cache", "redis://***"),
        ("redis://:12#ter2@cache", "redis://***"),
        ("redis://:12/ter2@cache", "redis://***"),
        ("postgresql://u:p@[::1]:5432/caravan", "postgresql://u:***@[::1]:5432/caravan"),
        ("postgresql://a:1,b:2/caravan?sslkey=/x&user=u", "postgresql://a:1,b:2/caravan?sslkey=***&user=u"),
        ("https://host/api?token=t&page=2#part", "https://host/api?token=***&page=2#part"),
        ("https://host/api?X-Api-Key=t&access_token=u&sig=v", "https://host/api?X-Api-Key=***&access_token=***&sig=***"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://host/@me", "https://host/@me"),
        ("sqlite:////tmp/a:b@c/x.db", "sqlite:////tmp/a:b@c/x.db"),
        ("/tmp/a:b@c/x.db", "/tmp/a:b@c/x.db"),
        ("127.0.0.1:9464", "127.0.0.1:9464"),
        ("a@b.c, d@e.f", "a@b.c, d@e.f"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hc-ping.com/0d5a", "https://hc-ping.com/***"),
        ("https://u:p@host/0d5a?x=1", "https://u:***@host/***"),
        ("https://host", "https://host"),
        ("https://host?id=1", "https://host"),
        ("not a url", "***"),
        ("", ""),
    ],
)
def test_a_url_whose_path_is_a_secret_is_shown_by_its_host(url: str, shown: str) -> None:
    assert masked_whole(url) == shown
