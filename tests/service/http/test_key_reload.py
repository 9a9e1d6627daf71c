"""A change of the keys file takes effect without a restart; a wrong one leaves the old keys in force."""

import asyncio
from pathlib import Path

import pytest
import structlog

from model_store.errors import UserError
from service.api_keys.file import add_key, revoke_keys
from service.api_keys.records import ApiKey, digest_of
from service.http import key_reload
from service.http.key_reload import KeyReload
from service.metrics import Metrics
from service.names import DEFAULT_TENANT
from tests.service.conftest import Gateway, OpenGateway

STALE = "tastestream_api_keys_stale"


def key(secret: str) -> ApiKey:
    return ApiKey(digest_of(secret), "web", "default", frozenset({"items"}))


async def until_status(gateway: Gateway, secret: str, wanted: int) -> None:
    async with asyncio.timeout(300):
        while await status(gateway, secret) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def status(gateway: Gateway, secret: str) -> int:
    return (await gateway.ask("GET", "/items", headers={"authorization": f"Bearer {secret}"})).status_code


async def test_keys_are_added_and_revoked_while_the_gateway_runs(
    open_gateway: OpenGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_reload, "READ_EVERY_S", 0.01)
    file = tmp_path / "keys"
    add_key(file, key("old"))
    async with open_gateway(api_keys_file=file) as gateway:
        add_key(file, key("new"))
        await until_status(gateway, "new", 200)
        assert await status(gateway, "old") == 200
        revoke_keys(file, lambda one: one.digest == digest_of("old"))
        await until_status(gateway, "old", 401)
        assert await status(gateway, "new") == 200


@pytest.mark.parametrize("content", [None, b"", b"one two\n", b"\xff"])
async def test_a_wrong_file_leaves_the_old_keys_in_force_is_logged_once_and_shown(
    tmp_path: Path, content: bytes | None
) -> None:
    file, metrics = tmp_path / "keys", Metrics()
    file.write_text("old\n")
    keys = KeyReload(file, [DEFAULT_TENANT], metrics)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with structlog.testing.capture_logs() as entries:
        await keys.reload()
        await keys.reload()
    assert [(entry["event"], entry["log_level"]) for entry in entries] == [("api_keys_not_reloaded", "error")]
    assert str(file) in entries[0]["error"]
    assert [one.digest for one in keys.ring] == [digest_of("old")]
    assert metrics.registry.get_sample_value(STALE) == 1

    file.write_text("new\n")
    await keys.reload()
    assert [one.digest for one in keys.ring] == [digest_of("new")]
    assert metrics.registry.get_sample_value(STALE) == 0


async def test_a_file_that_is_good_again_without_a_change_is_not_stale(tmp_path: Path) -> None:
    file, metrics = tmp_path / "keys", Metrics()
    file.write_text("old\n")
    keys = KeyReload(file, [DEFAULT_TENANT], metrics)
    file.rename(tmp_path / "away")
    await keys.reload()
    (tmp_path / "away").rename(file)
    await keys.reload()
    assert metrics.registry.get_sample_value(STALE) == 0


async def test_a_file_whose_keys_are_all_revoked_lets_nobody_in(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add_key(file, key("only"))
    keys = KeyReload(file, [DEFAULT_TENANT], Metrics())
    revoke_keys(file, lambda _: True)
    await keys.reload()
    assert [one.revoked_s is None for one in keys.ring] == [False]


def test_keys_in_plain_text_are_warned_of_by_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# ours\nsecret\n")
    with structlog.testing.capture_logs() as entries:
        KeyReload(tmp_path / "keys", [DEFAULT_TENANT], Metrics())
    assert [(entry["event"], entry["lines"]) for entry in entries] == [("api_keys_in_plain_text", ["line-2"])]


@pytest.mark.parametrize("content", ["", "# nothing but this\n", "sha256:0 name=web\n"])
async def test_a_wrong_file_prevents_the_start(open_gateway: OpenGateway, tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(UserError, match="keys"):
        await open_gateway(api_keys_file=tmp_path / "keys").__aenter__()
