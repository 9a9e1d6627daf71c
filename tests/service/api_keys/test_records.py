"""A line of the keys file says what a key may do; a wrong one is explained without showing a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api_keys.records import SCOPES, ApiKey, digest_of, is_damaged, new_key, read_line

HASH = f"sha256:{'0f' * 32}"
TIMES = st.none() | st.integers(0, 4_000_000_000)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
SCOPE_SETS = st.frozensets(st.sampled_from(SCOPES), min_size=1)


@given(st.builds(ApiKey, st.binary(min_size=32, max_size=32), NAMES, NAMES, SCOPE_SETS, TIMES, TIMES, TIMES))
def test_a_line_says_all_of_a_key(key: ApiKey) -> None:
    assert read_line(key.line(), 1) == key


def test_a_generated_key_is_random_and_not_in_its_line() -> None:
    one, other = new_key(), new_key()
    assert one != other
    assert not is_damaged(one)
    assert one not in ApiKey(digest_of(one), "web", "shop", frozenset({"events"})).line()


@pytest.mark.parametrize("cut", [1, 20, 43])
def test_a_generated_key_without_its_end_is_recognized(cut: int) -> None:
    assert is_damaged(new_key()[:-cut])
    assert not is_damaged("another-services-key")


def test_admin_includes_every_scope_and_others_only_themselves() -> None:
    for scope in SCOPES:
        key = ApiKey(b"", "n", "t", frozenset({scope}))
        assert [other for other in SCOPES if key.allows(other)] == (list(SCOPES) if scope == "admin" else [scope])


def test_a_word_alone_is_a_key_in_plain_text_with_all_scopes() -> None:
    key = read_line("from-before", 7)
    assert (key.digest, key.name, key.tenant, key.scopes) == (
        digest_of("from-before"),
        "line-7",
        "default",
        frozenset(SCOPES),
    )
    assert key.plain


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{HASH} name=web scopes=events,evnts", "unknown scope 'evnts'; the scopes are events, recommend, items"),
        (f"{HASH} name=web scopes=", "unknown scope ''"),
        (f"{HASH} name=web", "scopes= is missing"),
        (f"{HASH} scopes=events", "name= is missing"),
        (HASH, "name= is missing"),
        (f"{HASH} name=web scopes=events scopes=admin", "scopes= is given twice"),
        (f"{HASH} name=Web scopes=events", "'Web' is not a name"),
        (f"{HASH} name=web scopes=events tenant=", "'' is not a name"),
        (f"{HASH} name=web scopes=events expires=2027-01-31", "'2027-01-31' is not a time"),
        (f"{HASH} name=web scopes=events expires=never", "'never' is not a time"),
        (f"{HASH} name=web scopes=events expire=2027-01-31T00:00:00Z", "is none of name=, tenant="),
        (f"{HASH[:-2]} name=web scopes=events", "must begin with sha256:"),
        ("sha256:0f", "must begin with sha256:"),
        ("my secret", "must begin with sha256:"),
    ],
)
def test_a_wrong_line_is_explained(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^.*") as raised:
        read_line(line, 1)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
