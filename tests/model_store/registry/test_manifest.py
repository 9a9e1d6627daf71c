"""A manifest can be written and parsed; errors name what is wrong in a bad one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.registry.manifest import Blend, Labels, Manifest, ManifestError, PictureTokens, Serving, hash_files

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MANIFESTS = st.builds(
    Manifest,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
    version=st.integers(1, 10_000),
    role=st.sampled_from(["summarizer", "ranker", "embedder"]),
    base=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    labels=st.none() | st.builds(Labels, yes_id=st.integers(0, 9), no_id=st.integers(0, 9)),
    blend=st.builds(Blend, bias=NUMBERS, mllm=NUMBERS),
    picture_tokens=st.none() | st.builds(PictureTokens, count=st.integers(1, 256), width=st.integers(1, 9999)),
    serving=st.builds(Serving, architecture=st.none() | st.just("Qwen3VLForSequenceClassification")),
    evaluation=st.dictionaries(st.sampled_from(["auc", "users"]), NUMBERS),
)


@given(MANIFESTS)
def test_what_is_written_is_read(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.dump(), "here") == manifest


GOOD = 'name = "taste"\nversion = 1\nrole = "ranker"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        (GOOD + "extra = 1", "extra: Extra inputs"),
        (GOOD.replace("ranker", "oracle"), "role: "),
        (GOOD.replace('"taste"', '"../taste"'), "name: "),
        (GOOD.replace("1", "0"), "version: "),
        (GOOD + "[serving]\nmax_model_len = 0", "serving.max_model_len: "),
        (GOOD + "[labels]\nyes_id = 1", "labels.no_id: "),
        (GOOD + "[picture_tokens]\ncount = 0\nwidth = 8", "picture_tokens.count: "),
    ],
)
def test_a_bad_manifest_names_file_and_key(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.parse(text, "store/taste/manifest.toml")
    assert str(caught.value).startswith("store/taste/manifest.toml")
    assert message in str(caught.value)


def test_a_manifest_from_before_soft_tokens_has_none() -> None:
    manifest = Manifest.parse(GOOD, "here")
    assert manifest.picture_tokens is None
    assert manifest.encoder_sha256 == ""
    assert "picture_tokens" not in manifest.dump()


def test_the_hash_covers_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = hash_files(tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    renamed = hash_files(tmp_path)
    (tmp_path / "c").write_text("3")
    assert len({first, renamed, hash_files(tmp_path)}) == 3
