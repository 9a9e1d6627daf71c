"""The keys file: read as a whole or not at all, and changed without losing a line."""

import asyncio
import stat
from pathlib import Path

import pytest

from model_store.errors import UserError
from service.api_keys.file import MAX_BYTES, add_key, parse_keys, read_keys, revoke_keys
from service.api_keys.records import ApiKey, digest_of


def key(secret: str, tenant: str = "shop") -> ApiKey:
    return ApiKey(digest_of(secret), "web", tenant, frozenset({"events"}), 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_an_added_key_is_read_and_only_the_owner_may_read_the_file(file: Path) -> None:
    add_key(file, key("a"))
    add_key(file, key("b"))
    assert read_keys(file) == [key("a"), key("b")]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_comments_blank_lines_and_a_missing_end_of_line_are_kept(file: Path) -> None:
    file.write_text("# ours\n\n   \nplain")
    add_key(file, key("a", "default"))
    assert file.read_text() == f"# ours\n\n   \nplain\n{key('a', 'default').line()}\n"


async def test_keys_added_and_revoked_at_the_same_time_are_all_there(file: Path) -> None:
    add_key(file, key("old"))
    adding = [asyncio.to_thread(add_key, file, key(str(number))) for number in range(20)]
    revoking = asyncio.to_thread(revoke_keys, file, lambda one: one.digest == digest_of("old"))
    await asyncio.gather(*adding[:10], revoking, *adding[10:])
    keys = read_keys(file)
    assert len(keys) == 21
    assert [one.digest for one in keys if one.revoked_s is not None] == [digest_of("old")]


def test_a_file_only_grows_and_stays_the_same_file(file: Path) -> None:
    file.write_text("# ours\nplain-key\nother\n")
    before, inode = file.read_text(), file.stat().st_ino
    (revoked,) = revoke_keys(file, lambda one: one.digest == digest_of("plain-key"))
    assert revoked.revoked_s is not None
    assert [one.revoked_s is None for one in read_keys(file)] == [False, True]
    assert file.read_text().startswith(before)
    assert file.stat().st_ino == inode


def test_a_revoked_key_is_not_put_in_force_again(file: Path) -> None:
    add_key(file, key("a"))
    revoke_keys(file, lambda _: True)
    assert revoke_keys(file, lambda _: True) == []
    with pytest.raises(UserError, match="line 3: the same key as in line 2"):
        add_key(file, key("a"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "contains no API key"),
        (b"# nothing\n", "contains no API key"),
        (b"one\none\n", "line 2: the same key as in line 1"),
        (b"one\n\nsha256:0 name=a scopes=events\n", "line 3: a line must begin with sha256:"),
        (b"\xff\n", "is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "is larger than 1,048,576 bytes"),
    ],
)
def test_a_file_that_can_not_be_taken_as_a_whole_is_refused(file: Path, content: bytes, said: str) -> None:
    with pytest.raises(UserError, match="keys") as raised:
        parse_keys(content, file)
    assert said in str(raised.value)


def test_keys_of_several_tenants_are_read_if_all_exist(file: Path) -> None:
    for one in (key("a"), key("b", "other")):
        add_key(file, one)
    content = file.read_bytes() + b"plain\n"
    assert [one.tenant for one in parse_keys(content, file, ["default", "other", "shop"])] == [
        "shop",
        "other",
        "default",
    ]


@pytest.mark.parametrize("tenants", [(), ("shop",), ("others", "shop"), ("othe", "shop")])
def test_a_key_of_a_tenant_that_does_not_exist_is_named_by_its_line(file: Path, tenants: tuple[str, ...]) -> None:
    content = f"{key('a').line()}\n{key('b', 'other').line()}\n".encode()
    wrong = ("line 2", "other") if tenants else ("line 1", "shop")
    said = rf"{wrong[0]}: the tenant '{wrong[1]}' does not exist: declare \[tenants.{wrong[1]}\]"
    with pytest.raises(UserError, match=said):
        parse_keys(content, file, tenants)


def test_the_tenant_of_a_revoked_key_need_not_exist(file: Path) -> None:
    add_key(file, key("a"))
    revoke_keys(file, lambda _: True)
    add_key(file, key("b", "other"))
    assert [one.tenant for one in parse_keys(file.read_bytes(), file, ["other"])] == ["shop", "other"]
