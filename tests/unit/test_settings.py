"""Settings from variables and the settings file: what is taken, passed over, warned of and refused."""

import logging
import re
from pathlib import Path

import pytest

from worker.errors import SettingsRefused
from worker.settings import load_settings, masked_setting, settings_with_origins
from worker.storage.engine import open_database, sqlite_file


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that ``~`` stands for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_tilde_is_the_home_of_the_user(home: Path) -> None:
    (home / "cv.toml").write_text("keep_days = 3")

    settings = load_settings({"CARAVAN_HOME": "~/cv", "CARAVAN_CONFIG": "~/cv.toml"})

    assert settings.home == home / "cv"
    assert settings.keep_days == 3


def test_a_tilde_is_expanded_where_the_settings_file_is_looked_for(home: Path) -> None:
    (home / "cv").mkdir()
    (home / "cv" / "caravan.toml").write_text("keep_days = 3")

    assert load_settings({"CARAVAN_HOME": "~/cv"}).keep_days == 3


def test_a_tilde_of_a_sqlite_url_is_expanded(home: Path) -> None:
    assert sqlite_file("sqlite:///~/cv.db") == sqlite_file("~/cv.db") == home / "cv.db"


def test_a_home_of_a_user_who_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(SettingsRefused, match="~nobody-at-all"):
        load_settings({"CARAVAN_HOME": "~nobody-at-all/cv"})


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "a b", "a:b@c", "ü", "a&b=c", "a;b"])
def test_a_home_may_have_any_characters(tmp_path: Path, name: str) -> None:
    settings = load_settings({"CARAVAN_HOME": str(tmp_path / name)})

    database = open_database(settings.database)
    with database.read():
        pass
    database.close()

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert sqlite_file(settings.database) == tmp_path / name / "caravan.db"
    assert (tmp_path / name / "caravan.db").is_file()


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_is_unset(tmp_path: Path, empty: str) -> None:
    (tmp_path / "caravan.toml").write_text("lease_seconds = 42")
    names = (
        "CONFIG",
        "KEEP_DAYS",
        "LEASE_SECONDS",
        "LOG_LEVEL",
        "NOTIFY_COMMANDS",
        "DATABASE_URL",
        "NO_SUCH",
    )
    environ = {"CARAVAN_HOME": str(tmp_path), **{f"CARAVAN_{name}": empty for name in names}}

    settings, origins = settings_with_origins(environ)

    assert settings == load_settings({"CARAVAN_HOME": str(tmp_path)})
    assert settings.lease_seconds == 42
    assert origins["keep_days"] == "default"


def test_the_level_of_the_log_is_taken_in_any_case() -> None:
    settings = load_settings({"CARAVAN_LOG_LEVEL": "WARNING", "CARAVAN_LOG_STYLE": "Json"})
    assert (settings.log_level, settings.log_style) == ("warning", "json")


def test_what_kubernetes_sets_beside_a_service_called_caravan_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {
        "CARAVAN_SERVICE_HOST": "10.0.0.7",
        "CARAVAN_SERVICE_PORT": "80",
        "CARAVAN_SERVICE_PORT_HTTP": "80",
        "CARAVAN_PORT": "tcp://10.0.0.7:80",
        "CARAVAN_PORT_80_TCP": "tcp://10.0.0.7:80",
        "CARAVAN_PORT_80_TCP_PROTO": "tcp",
        "CARAVAN_PORT_80_TCP_PORT": "80",
        "CARAVAN_PORT_80_TCP_ADDR": "10.0.0.7",
        "CARAVAN_PORT_53_UDP_ADDR": "10.0.0.7",
        "CARAVAN_API_V2_SERVICE_HOST": "10.0.0.8",
        "CARAVAN_API_V2_SERVICE_PORT_METRICS": "9464",
        "CARAVAN_API_V2_PORT": "tcp://10.0.0.8:80",
        "CARAVAN_API_V2_PORT_80_TCP_ADDR": "10.0.0.8",
    }

    assert load_settings(environ) == load_settings({})
    assert not caplog.records


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("CARAVAN_LEASE_SECOND", "CARAVAN_LEASE_SECONDS"),
        ("CARAVAN_DATABSE_URL", "CARAVAN_DATABASE_URL"),
        ("CARAVAN_DATABASE", "CARAVAN_DATABASE_URL"),
        ("CARAVAN_LEASE", "CARAVAN_LEASE_SECONDS"),
        ("CARAVAN_HOME_DIR", "CARAVAN_HOME"),
    ],
)
def test_what_is_nearly_a_setting_is_refused_with_the_right_name(variable: str, suggestion: str) -> None:
    with pytest.raises(SettingsRefused, match=f"{variable}, did you mean {suggestion}\\?"):
        load_settings({variable: "5"})


def test_any_other_variable_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"CARAVAN_QQ_ZZ": "1", "CARAVAN_PORT": "8080"}
    with caplog.at_level(logging.WARNING):
        assert load_settings(environ) == load_settings(environ) == load_settings({})

    assert [record.getMessage().split()[1] for record in caplog.records] == ["CARAVAN_QQ_ZZ", "CARAVAN_PORT"]


def test_an_unknown_name_in_the_settings_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caravan.toml").write_text("qq_zz = 1")
    with pytest.raises(SettingsRefused, match="unknown setting qq_zz"):
        load_settings({"CARAVAN_HOME": str(tmp_path)})


def test_settings_are_shown_without_secrets() -> None:
    assert masked_setting("ping_url", "https://hc-ping.com/0d5a") == "https://hc-ping.com/***"
    assert masked_setting("webhook_key", "whsec_abc") == "***"
    assert masked_setting("webhook_key", "env:KEY") == "env:KEY"
    assert masked_setting("smtp_url", "smtp://u:p@mail/?from=a@b.c") == "smtp://u:***@mail/?from=a@b.c"


def test_a_value_that_is_refused_is_shown_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "caravan.toml").write_text('broker_url = ["redis://:hunter2@cache/0"]')
    with pytest.raises(SettingsRefused) as failure:
        load_settings({"CARAVAN_HOME": str(tmp_path)})
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("name", ["database_url", "broker_url"])
def test_a_url_may_stand_in_a_variable_or_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "redis://me:secret@broker/0" if name == "broker_url" else "postgresql://me:secret@db/caravan"
    monkeypatch.setenv("OUR_URL", url)
    file = tmp_path / "url"
    file.write_text(f"{url}\n")
    file.chmod(0o600)

    for reference in ("env:OUR_URL", f"file:{file}"):
        assert getattr(load_settings({f"CARAVAN_{name.upper()}": reference}), name) == url
    with pytest.raises(SettingsRefused, match="env:NOT_SET: that variable is not set here"):
        load_settings({f"CARAVAN_{name.upper()}": "env:NOT_SET"})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CARAVAN_MAX_ATTEMPTS", "x", "CARAVAN_MAX_ATTEMPTS: expected a whole number (got 'x')"),
        (
            "CARAVAN_MAX_ATTEMPTS",
            "0",
            "CARAVAN_MAX_ATTEMPTS: expected a number greater than or equal to 1 (got '0')",
        ),
        ("CARAVAN_ALLOW_PULL", "perhaps", "CARAVAN_ALLOW_PULL: expected true or false (got 'perhaps')"),
    ],
)
def test_a_value_that_is_wrong_is_refused_in_plain_words(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsRefused, match=f"^{re.escape(said)}$"):
        load_settings({variable: value})
