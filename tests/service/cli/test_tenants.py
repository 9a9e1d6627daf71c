"""Commands work on the tenant that is named, and `tenants erase` leaves nothing of it and everything of the others."""

import json
from pathlib import Path

import pytest

from service.names import DEFAULT_TENANT
from service.pictures.store import open_pictures
from service.settings import Settings
from service.settings.tenants import TenantSettings
from service.state.records import Item
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.cli.conftest import Run, accept, event, on_store

SHOP, NEWS = "shop", "shop-eu"
TENANTS = (DEFAULT_TENANT, SHOP, NEWS)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TASTESTREAM_TENANTS", json.dumps({SHOP: {}, NEWS: {}}))
    return settings.model_copy(update={"tenants": {SHOP: TenantSettings(), NEWS: TenantSettings()}})


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Every tenant has an item with a picture, a user with a summary, a dead letter and pending events."""

    async def fill(first: Store) -> None:
        pictures = open_pictures(settings)
        for name in TENANTS:
            store = first.of(name)
            picture = await pictures.of(settings.pictures_of(name)).write(f"picture of {name}".encode())
            await store.items.put(Item("i", f"An item of {name}", picture=picture))
            await accept(store, *(event("ann", number) for number in range(2)))
            (claim,) = await store.summaries.claim(1)
            assert await store.summaries.commit(claim, f"likes {name}", "m", "p", 1, ["i"])
            (claim,) = await store.summaries.claim(1)
            assert await store.summaries.dead_letter(claim, f"bad-{name}", 1) == "dead_lettered"
            await accept(store, *(event("ann", number) for number in range(2, 5)))

    on_store(settings, fill)
    return settings


def contents(settings: Settings, tenants: tuple[str, ...]) -> dict[str, bytes]:
    """Keys and pictures of these tenants."""
    stems = tuple("ts:" if name == DEFAULT_TENANT else f"ts@{name}:" for name in tenants)
    with admin_of(settings.redis_url or "") as admin:
        found = {key.decode(): admin.dump(key) or b"" for key in all_keys(admin) if key.decode().startswith(stems)}
    for name in tenants:
        folder = Path(settings.pictures_of(name))
        files = [
            path
            for path in folder.rglob("*")
            if path.is_file() and (name != DEFAULT_TENANT or "tenants" not in path.parts)
        ]
        found |= {str(path): path.read_bytes() for path in files}
    return found


COMMANDS = [
    ("users", "erase", "ann", "--yes"),
    ("dead-letters", "drop", "--all", "--yes"),
    ("dead-letters", "retry", "--all"),
    ("summaries", "rebuild", "--yes"),
    ("pictures", "prune", "--force"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("tenant", TENANTS)
def test_a_command_changes_only_the_tenant_that_is_named(
    filled: Settings, tastestream: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], tenant: str
) -> None:
    monkeypatch.setenv("TASTESTREAM_PICTURES__GRACE_S", "0.001")

    async def unused(_: Store) -> None:
        await open_pictures(filled).of(filled.pictures_of(tenant)).write(b"unused")

    on_store(filled, unused)
    others = tuple(name for name in TENANTS if name != tenant)
    own, foreign = contents(filled, (tenant,)), contents(filled, others)
    ran = tastestream(*command, "--tenant", tenant)
    assert ran.code == 0, ran.err
    assert f'"tenant":"{tenant}"' in ran.err
    assert contents(filled, (tenant,)) != own
    assert contents(filled, others) == foreign


def test_what_is_shown_and_exported_is_of_the_tenant(filled: Settings, tastestream: Run, tmp_path: Path) -> None:
    for name in TENANTS:
        listed = json.loads(tastestream("dead-letters", "list", "--json", "--tenant", name).out)
        assert listed["reason"] == f"bad-{name}"
        folder = tmp_path / f"of-{name}"
        ran = tastestream("events", "export", str(folder), "--tenant", name)
        assert ran.code == 0, ran.err
        assert json.loads((folder / "items.jsonl").read_text())["title"] == f"An item of {name}"
        assert [path.read_bytes() for path in (folder / "images").iterdir()] == [f"picture of {name}".encode()]


@pytest.mark.parametrize("command", [*COMMANDS, ("events", "export", "folder"), ("dead-letters", "list")], ids=" ".join)
def test_a_tenant_that_does_not_exist_is_an_error(
    tastestream: Run, settings: Settings, command: tuple[str, ...]
) -> None:
    ran = tastestream(*command, "--tenant", "shops")
    assert (ran.code, ran.out) == (1, "")
    assert "the tenant 'shops' does not exist: declare [tenants.shops] in the settings" in ran.err


def test_a_key_for_a_tenant_that_does_not_exist_is_not_made(
    tastestream: Run, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    create = ("keys", "create", "web", "--scope", "events", "--file", str(file), "--tenant")
    ran = tastestream(*create, "shops")
    assert ran.code == 1
    assert "the tenant 'shops' does not exist" in ran.err
    assert not file.exists()
    assert tastestream(*create, NEWS).code == 0


def test_the_list_has_all_tenants_with_what_they_have(
    filled: Settings, tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTESTREAM_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("TASTESTREAM_RANKER__URL", "http://ranker")
    monkeypatch.setenv("TASTESTREAM_RANKER__MODEL", "everyones")
    monkeypatch.setenv("TASTESTREAM_TENANTS", json.dumps({SHOP: {}, NEWS: {"ranker": {"model": "own"}}}))
    tastestream("keys", "create", "web", "--scope", "events", "--tenant", SHOP)
    rows = [line.split() for line in tastestream("tenants", "list").out.splitlines()[1:]]
    assert rows == [
        [DEFAULT_TENANT, "everyones", "1", "3", "0"],
        [SHOP, "everyones", "1", "3", "1"],
        [NEWS, "own", "1", "3", "0"],
    ]


@pytest.mark.parametrize("tenant", TENANTS)
def test_erasing_leaves_nothing_of_the_tenant_and_all_of_the_others(
    filled: Settings, tastestream: Run, tenant: str
) -> None:
    others = tuple(name for name in TENANTS if name != tenant)
    foreign = contents(filled, others)
    ran = tastestream("tenants", "erase", tenant, "--force", "--yes")
    assert ran.code == 0, ran.err
    assert contents(filled, (tenant,)) == {}
    assert contents(filled, others) == foreign
    with admin_of(filled.redis_url or "") as admin:
        assert admin.get("ts:buckets") == b"4", "the note on the number of buckets is of all tenants"


def test_a_tenant_that_may_be_in_use_is_not_erased_without_force(
    filled: Settings, tastestream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(filled, TENANTS)
    monkeypatch.setenv("TASTESTREAM_API_KEYS_FILE", str(tmp_path / "keys"))
    tastestream("keys", "create", "web", "--scope", "events", "--tenant", SHOP)
    assert "'shop' is declared and has 1 keys" in tastestream("tenants", "erase", SHOP, "--yes").err
    assert "'default' always exists" in tastestream("tenants", "erase", DEFAULT_TENANT, "--yes").err
    assert tastestream("tenants", "erase", "../x", "--yes", "--force").code == 1
    assert contents(filled, TENANTS) == before
    monkeypatch.setenv("TASTESTREAM_TENANTS", json.dumps({NEWS: {}}))
    tastestream("keys", "revoke", "--name", "web", "--yes")
    assert tastestream("tenants", "erase", SHOP, "--yes").code == 0
    assert contents(filled, (SHOP,)) == {}


def test_a_question_that_is_not_answered_erases_nothing(filled: Settings, tastestream: Run) -> None:
    before = contents(filled, TENANTS)
    assert tastestream("tenants", "erase", SHOP, "--force", answer="n\n").code != 0
    assert contents(filled, TENANTS) == before
