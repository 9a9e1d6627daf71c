"""Deletions of users and items are in the audit log, with who asked and how it ended, and without any id."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from service.api_keys.file import add_key, revoke_keys
from service.api_keys.records import ApiKey, Scope, digest_of
from service.audit import pseudonym
from service.http.key_reload import KeyReload
from service.metrics import Metrics
from service.state.users import Users
from tests.service.conftest import Gateway, OpenGateway


def key(secret: str, *scopes: Scope) -> ApiKey:
    return ApiKey(digest_of(secret), f"{secret}-name", "shop", frozenset(scopes))


async def audit_line(gateway: Gateway, path: str, secret: str | None = None) -> dict[str, Any]:
    """The line that `DELETE` of `path` writes."""
    headers = {"x-request-id": "r1"} | ({} if secret is None else {"authorization": f"Bearer {secret}"})
    with structlog.testing.capture_logs() as entries:
        await gateway.ask("DELETE", path, headers=headers)
    (line,) = [dict(entry) for entry in entries if entry.get("module") == "audit"]
    assert "secret" not in repr(line)
    assert line.pop("log_level") == "info"
    return line


async def test_a_line_has_the_action_the_key_a_digest_and_the_outcome(
    open_gateway: OpenGateway, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    for one in (key("privacy", "users"), key("catalogue", "items")):
        add_key(file, one)
    async with open_gateway(api_keys_file=file, tenants={"shop": {}}) as gateway:
        await gateway.ask("PUT", "/items/secret-i", {"title": "t"}, headers={"authorization": "Bearer catalogue"})
        privacy = {"key": "privacy-name", "key_id": key("privacy").id, "tenant": "shop", "module": "audit"}
        catalogue = {"key": "catalogue-name", "key_id": key("catalogue").id, "tenant": "shop", "module": "audit"}
        user = {"event": "user.erase", "target": pseudonym("secret/é")}
        item = {"event": "item.delete", "target": pseudonym("secret-i")}
        user_path, item_path = "/users/secret%2F%C3%A9", "/items/secret-i"
        assert await audit_line(gateway, user_path, "privacy") == {**user, **privacy, "outcome": "ok"}
        assert await audit_line(gateway, item_path, "catalogue") == {**item, **catalogue, "outcome": "ok"}
        assert await audit_line(gateway, item_path, "catalogue") == {**item, **catalogue, "outcome": "item_not_found"}
        assert await audit_line(gateway, item_path, "privacy") == {**item, **privacy, "outcome": "scope_missing"}
        unknown = await audit_line(gateway, user_path, "unknown")
        assert unknown == {**user, "outcome": "key_unknown", "module": "audit"}


async def test_a_failure_is_in_the_log(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(Users, "delete", fail)
    assert (await audit_line(gateway, "/users/u"))["outcome"] == "internal_error"


async def test_other_requests_are_not_in_the_log(gateway: Gateway) -> None:
    with structlog.testing.capture_logs() as entries:
        await gateway.ask("GET", "/users/u")
        await gateway.ask("PUT", "/items/i", {"title": "t"})
        await gateway.ask("DELETE", "/items")
    assert [entry for entry in entries if entry.get("module") == "audit"] == []


async def test_a_change_of_the_keys_file_is_in_the_log(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add_key(file, key("old", "events"))
    keys = KeyReload(file, ["shop"], Metrics())
    add_key(file, key("new", "events"))
    revoke_keys(file, lambda one: one.name == "old-name")
    with structlog.testing.capture_logs() as entries:
        await keys.reload()
    (line,) = entries
    assert (line["event"], line["module"], line["outcome"]) == ("keys.reload", "audit", "ok")
    assert (line["added"], line["removed"]) == ([key("new").id], [key("old").id])
