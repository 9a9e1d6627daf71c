"""Opens an engine from a URL, a served name and perhaps a model version, whose training it follows."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from model_store.engine.engine import open_engine
from model_store.prompts import BUILT_IN, PromptSet
from model_store.registry.manifest import Labels, Manifest, ManifestError
from model_store.registry.registry import Registry
from model_store.views import ItemView, UserView
from tests.model_store.engine.fake_vllm import FakeVllm, running

USER = UserView("This user enjoys harbours.")
ITEM = ItemView("Red Harbour", ("drama",))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    weights = tmp_path / "checkpoint"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    registry = Registry(tmp_path / "store")
    manifest = Manifest(
        name="taste",
        version=3,
        role="ranker",
        labels=Labels(yes_id=11, no_id=7),
        picture={"width": 32, "height": 48},
        serving={"max_summary_tokens": 21},
    )
    registry.add(manifest, BUILT_IN / "compact", weights)
    return registry


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 600)).save(out, format="PNG")
    return out.getvalue()


def sent_size(fake: FakeVllm) -> tuple[int, int]:
    url = fake.requests[-1].body["documents"][0]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size


async def test_a_version_brings_prompts_picture_size_labels_and_lengths(registry: Registry) -> None:
    async with running() as fake:
        engine = open_engine(fake.url, None, "taste@3", registry)
        await engine.score(USER, [ItemView("Red Harbour", ("drama",), image=picture())])
        assert fake.requests[0].body["queries"] == PromptSet.built_in("compact").rank_user(USER)
        assert fake.requests[0].body["model"] == engine.id == "taste@3"
        assert sent_size(fake) == (32, 48)
        await engine.summarize("", ())
        assert fake.requests[1].body["max_tokens"] == 21
        await engine.close()
        asked = open_engine(fake.url, "other", "taste", registry, mode="chat")
        await asked.score(USER, [ITEM])
        assert fake.requests[2].body["allowed_token_ids"] == [11, 7]
        assert (asked.model, asked.id) == ("other", "taste@3")
        await asked.close()


async def test_without_a_version_the_built_in_prompts_ask(registry: Registry) -> None:
    async with running() as fake:
        engine = open_engine(fake.url, "general", None, registry)
        await engine.score(USER, [ItemView("Red Harbour", image=picture())])
        assert fake.requests[0].body["queries"] == PromptSet.built_in("default").rank_user(USER)
        assert sent_size(fake) == (112, 224)
        assert engine.id == "general"
        await engine.close()


def test_what_cannot_be_opened_is_reported(registry: Registry) -> None:
    with pytest.raises(ValueError, match="name the model that the server serves"):
        open_engine("http://x", None, None, registry)
    with pytest.raises(ManifestError, match="no version 'taste@4'"):
        open_engine("http://x", None, "taste@4", registry)
