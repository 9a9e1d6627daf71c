"""`tastestream keys` makes keys that are shown once, lists and revokes them."""

import stat
import time
from pathlib import Path

import pytest

from service.api_keys.file import read_keys
from service.api_keys.records import digest_of
from tests.service.cli.conftest import Run

DAY_S = 86_400


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASTESTREAM_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("TASTESTREAM_TENANTS__SHOP", "{}")
    return tmp_path / "keys"


def created(tastestream: Run, name: str, *options: str) -> str:
    ran = tastestream("keys", "create", name, *(options or ("--scope", "events")))
    assert ran.code == 0, ran.err
    return ran.out.strip()


def test_a_key_is_printed_once_and_only_its_hash_is_kept(tastestream: Run, file: Path) -> None:
    secret = created(
        tastestream, "web", "--scope", "events", "--scope", "recommend", "--tenant", "shop", "--expires", "90d"
    )
    (key,) = read_keys(file)
    assert key.digest == digest_of(secret)
    assert (key.name, key.tenant, key.scopes) == ("web", "shop", {"events", "recommend"})
    assert key.expires_s is not None
    assert abs(key.expires_s - time.time() - 90 * DAY_S) < 600
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = tastestream("keys", "list")
    assert secret not in listed.out + listed.err
    assert all(part in listed.out for part in (key.id, "web", "shop", "events, recommend", "expires 20"))


def test_keys_are_revoked_by_id_or_by_name(tastestream: Run, file: Path) -> None:
    for name in ("web", "web", "job"):
        created(tastestream, name)
    first, second, job = read_keys(file)
    ran = tastestream("keys", "revoke", first.id, "--yes")
    assert ran.out == f"revoked {first.id} (web)\n"
    assert tastestream("keys", "revoke", "--name", "web", "--yes").out == f"revoked {second.id} (web)\n"
    assert [key.id for key in read_keys(file) if key.revoked_s is None] == [job.id]
    assert tastestream("keys", "list").out.count("revoked 20") == 2


def test_revoking_asks_for_confirmation(tastestream: Run, file: Path) -> None:
    created(tastestream, "web")
    ran = tastestream("keys", "revoke", "--name", "web", answer="n\n")
    assert ran.code == 1
    assert [key.revoked_s for key in read_keys(file)] == [None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "web", "--scope", "evnts"), "unknown scope 'evnts'; the scopes are events"),
        (("create", "Web", "--scope", "events"), "'Web' is not a name"),
        (("create", "web", "--scope", "events", "--tenant", "a b"), "'a b' is not a name"),
        (("create", "web", "--scope", "events", "--expires", "soon"), "--expires 'soon': neither a duration"),
        (("create", "web", "--scope", "events", "--expires", "0d"), "--expires '0d': neither a duration"),
        (("create", "web", "--scope", "events", "--expires", "2020-01-01"), "--expires 2020-01-01 has passed"),
        (("create", "web", "--scope", "events", "--tenant", "b"), "the tenant 'b' does not exist: declare [tenants.b]"),
        (("revoke",), "give the ids of keys"),
        (("revoke", "0123", "--name", "job"), "give the ids of keys"),
        (("revoke", "0123", "--yes"), "no such key, or it is revoked: 0123"),
        (("revoke", "--name", "none", "--yes"), "no key of the name 'none'"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    tastestream: Run, file: Path, arguments: tuple[str, ...], said: str
) -> None:
    created(tastestream, "job")
    before = file.read_bytes()
    ran = tastestream("keys", *arguments)
    assert ran.code == 1
    assert said in ran.err
    assert file.read_bytes() == before


def test_without_a_file_the_setting_is_named(tastestream: Run) -> None:
    assert "set TASTESTREAM_API_KEYS_FILE, or give --file" in tastestream("keys", "list").err
