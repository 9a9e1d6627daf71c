"""An administrative command writes one line of JSON to stderr: the OS user, what was done, the outcome, and no id."""

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.audit import pseudonym
from service.settings import Settings
from service.state.users import Users
from tests.service.cli.conftest import Ran, Run, accept, event, on_store

ME = pwd.getpwuid(os.getuid()).pw_name


def line_of(ran: Ran) -> dict[str, Any]:
    """The audit line, without its time."""
    (line,) = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    assert line.pop("timestamp").startswith("20")
    assert (line.pop("module"), line.pop("level"), line.pop("os_user")) == ("audit", "info", ME)
    assert "{" not in ran.out
    return dict(line)


@pytest.fixture
def letter(settings: Settings) -> str:
    """The id of a dead letter of ann."""

    async def fill(store: Any) -> str:
        await accept(store, event("ann", 1))
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.dead_letter(claim, "bad", 1) == "dead_lettered"
        (letter_id,) = [one.id async for one in store.dead_letters.read(None, None)]
        return str(letter_id)

    return on_store(settings, fill)


def test_erasing_a_user(tastestream: Run) -> None:
    line = line_of(tastestream("users", "erase", "ann", "--yes"))
    assert line == {"event": "user.erase", "outcome": "ok", "target": pseudonym("ann"), "tenant": "default"}


def test_what_failed_has_its_error_as_outcome(tastestream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Users, "delete", fail)
    assert line_of(tastestream("users", "erase", "ann", "--yes"))["outcome"] == "KeyboardInterrupt"


def test_what_was_not_confirmed_is_not_logged(tastestream: Run) -> None:
    assert '"audit"' not in tastestream("users", "erase", "ann", answer="n\n").err


def test_dead_letters(tastestream: Run, letter: str) -> None:
    everything = line_of(tastestream("dead-letters", "drop", "--all", "--user", "bob", "--yes"))
    assert everything == {
        "event": "dead_letter.drop",
        "outcome": "ok",
        "ids": "all",
        "tenant": "default",
        "user": pseudonym("bob"),
        "dropped": 0,
    }
    one = line_of(tastestream("dead-letters", "retry", letter))
    assert one == {"event": "dead_letter.retry", "outcome": "ok", "ids": [letter], "tenant": "default", "retried": 1}


def test_rebuilding_summaries(tastestream: Run, settings: Settings) -> None:
    on_store(settings, lambda store: accept(store, event("ann", 1)))
    line = line_of(tastestream("summaries", "rebuild", "--yes"))
    what = {"users": "all", "partial": False, "tenant": "default", "rebuilt": 1}
    assert line == {"event": "summaries.rebuild", "outcome": "ok", **what}


def test_keys(tastestream: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "keys")
    made = tastestream("keys", "create", "web", "--scope", "events", "--file", file)
    line = line_of(made)
    assert made.out.strip() not in made.err
    key_id = line.pop("key_id")
    assert line == {
        "event": "key.create",
        "outcome": "ok",
        "key": "web",
        "tenant": "default",
        "scopes": ["events"],
        "file": file,
    }
    line = line_of(tastestream("keys", "revoke", key_id, "--yes", "--file", file))
    assert line == {"event": "key.revoke", "outcome": "ok", "key_ids": [key_id], "file": file}


def test_promoting_a_model(tastestream: Run, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"")
    registry = Registry(tmp_path / "models")
    for version in (1, 2):
        registry.add(Manifest(name="m", version=version, role="ranker"), BUILT_IN / "compact", weights)
    store = ("--store", str(tmp_path / "models"))
    common = {"outcome": "ok", "model": "m", "alias": "production", "store": store[1]}
    assert line_of(tastestream("models", "promote", "m", "1", *store)) == {
        **common,
        "event": "model.promote",
        "version": 1,
    }
    tastestream("models", "promote", "m", "2", *store)
    assert line_of(tastestream("models", "rollback", "m", *store)) == {
        **common,
        "event": "model.rollback",
        "version": 1,
    }
    assert line_of(tastestream("models", "promote", "m", "9", *store))["outcome"] == "ManifestError"


def test_exporting_events(tastestream: Run, settings: Settings, tmp_path: Path) -> None:
    on_store(settings, lambda store: accept(store, event("ann", 1)))
    file = str(tmp_path / "events.ndjson")
    line = line_of(tastestream("events", "export", "--ndjson", file))
    assert line == {"event": "events.export", "outcome": "ok", "file": file, "tenant": "default"}
    assert line_of(tastestream("events", "export", "--ndjson", file))["outcome"] == "UserError"


def test_pruning_pictures(tastestream: Run) -> None:
    line = line_of(tastestream("pictures", "prune", "--force"))
    assert line == {"event": "picture.prune", "outcome": "ok", "tenant": "default", "removed": 0}
    assert '"audit"' not in tastestream("pictures", "prune", "--dry-run").err


AUDITED = {
    *("users erase", "dead-letters retry", "dead-letters drop", "summaries rebuild", "keys create", "keys revoke"),
    *("models promote", "models rollback", "events export", "pictures prune", "tenants erase"),
    *("models add", "models end", "models gc", "recommendations export"),
}
NOT_AUDITED = {
    *("up", "gateway", "gateway-process", "worker", "encoder"),  # They are the service.
    *("items import", "replay"),  # They call it; its keys say who.
    *(
        "keys list",
        "models list",
        "models show",
        "models vllm-flags",
        "models compare",
        "models ope",
    ),  # They show no data of users.
    "models serve",  # It starts a server that nobody asks until its version is promoted.
    "tenants list",  # It shows no data of users.
    "dead-letters list",  # It shows reasons and ids, and changes nothing.
    *("data import", "data check", "data prepare", "data describe", "data summarize", "data pictures"),  # Files.
    "data hide-items",  # The same.
    *("train", "models finetune", "models train-parts", "models train-embedder"),  # They serve nobody until promoted.
    *("models embed", "models evaluate-retrieval"),  # They only read the store.
    *("models refit-blend", "models probe"),  # The same.
    *("models fetch-parts", "evaluate"),  # Files, and reports.
}


def test_every_command_is_audited_or_known_not_to_be() -> None:
    from typer.main import get_command

    from service.cli.main import app

    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found |= {f"{name} {sub}" for sub in getattr(command, "commands", {})} or {name}
    assert found == AUDITED | NOT_AUDITED
