from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from bundle.provenance import available_cores
from server.settings import SHIPPED_STUDENT, ServerSettings


def test_defaults_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServerSettings()
    assert settings.host == "127.0.0.1"
    assert settings.bundles == [(None, SHIPPED_STUDENT)]
    assert settings.workers == available_cores()


def test_a_flag_beats_the_environment_which_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCO_PORT", "9000")
    monkeypatch.setenv("DISCO_MAX_QUEUE_ITEMS", "1234")
    arguments = [
        "--port",
        "9001",
        "--bundle",
        "/some/where",
        "--bundle",
        "other=/there",
        "--no-auto-truncate",
        "--json-logs",
    ]
    settings = CliApp.run(ServerSettings, cli_args=arguments)
    assert (settings.port, settings.max_queue_items) == (9001, 1234)
    assert settings.bundles == [(None, Path("/some/where")), ("other", Path("/there"))]
    assert not settings.auto_truncate
    assert settings.json_logs


def test_a_queue_that_could_never_take_the_largest_request_is_refused() -> None:
    with pytest.raises(ValidationError, match="could never be accepted"):
        ServerSettings(max_queue_items=10, max_client_batch_size=11)


def test_every_setting_has_a_help_text() -> None:
    assert all(field.description for field in ServerSettings.model_fields.values())


def test_several_bundles_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCO_BUNDLE", "/some/where,other=/there")
    settings = CliApp.run(ServerSettings, cli_args=[])
    assert settings.bundles == [(None, Path("/some/where")), ("other", Path("/there"))]


def test_a_rate_is_for_keys() -> None:
    with pytest.raises(ValidationError, match="set api_keys too"):
        ServerSettings(rate_limit=5)


def test_a_served_name_is_for_a_single_bundle() -> None:
    with pytest.raises(ValidationError, match="write --bundle NAME=FOLDER"):
        ServerSettings(bundle=["a", "b"], served_model_name="c")
