"""A ranker made by `train-parts` scores on stock vLLM what it scored in training, from the picture's file on."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from model_store.blend import logit
from model_store.data.dataset import read_dataset
from model_store.msr.parts.command import train_parts
from model_store.msr.parts.encoder import PictureEncoder
from model_store.msr.parts.encoding import SoftTokenEncoder
from model_store.msr.parts.lora import load_language_model
from model_store.msr.parts.ranker import PackedRanker
from model_store.msr.scratch.catalogue import Catalogue
from model_store.msr.scratch.packing import Segment
from model_store.pictures import PictureSize
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.msr.parts.conftest import Parts
from tests.model_store.msr.parts.test_train import OPTIONS
from tests.vllm_servers import ServedModel, _served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def trained(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, Manifest]:
    folder = tmp_path_factory.mktemp("trained")
    where = {"llm": parts.llm, "vision": parts.vision, "run": folder / "run"}
    manifest = train_parts(parts.world, folder / "models", name="shop", options=OPTIONS, **where)
    return Registry(folder / "models"), manifest


@pytest.fixture(scope="module")
def server(trained: tuple[Registry, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    registry, manifest = trained
    version = manifest, registry.local_folder(manifest), registry.prompts(manifest)
    yield from _served(version, tmp_path_factory.mktemp("server"))


async def test_scores_of_training_and_service_are_the_same(
    parts: Parts, trained: tuple[Registry, Manifest], server: ServedModel
) -> None:
    registry, manifest = trained
    dataset = read_dataset(parts.world)
    catalogue = Catalogue(dataset, PictureSize())
    pictures = PictureEncoder.load(registry.encoder_folder(manifest))
    soft = pictures.encode([image.read_bytes() for image in catalogue.images[:3]])
    shown = [number for number, row in enumerate(catalogue.picture) if 0 <= row < 3]
    views = [catalogue.views[number] for number in shown]
    views.append(views[0].without_picture())
    user = UserView("Likes red, circle. Avoids noise.", (InteractionView("like", ItemView("Old tide", ("folk",))),))

    model, tokenizer = load_language_model(server.weights, torch.float32)
    encoder = SoftTokenEncoder(tokenizer, server.prompts, 4)
    ranker = PackedRanker(model, _Same(), encoder.labels, soft, bf16=False)
    rows = [catalogue.picture[number] for number in shown]
    suffixes = [Segment(encoder.rank_item(view), (row,)) for view, row in zip(views, rows, strict=False)]
    suffixes.append(Segment(encoder.rank_item(views[-1])))
    expected = ranker.rank([encoder.rank_user(user)], [suffixes])[0]

    engine = server.engine()
    try:
        items = [replace(view, picture_tokens=_saved(soft[row])) for view, row in zip(views, rows, strict=False)]
        scores = await engine.score(user, [*items, views[-1]])
    finally:
        await engine.close()
    assert [logit(score) for score in scores if score is not None] == pytest.approx(expected, abs=1e-3)
    assert len({round(odds, 2) for odds in expected}) == len(expected), "the scores are too alike to compare anything"


class _Same(torch.nn.Module):
    """Stands for the projector of features that are soft tokens already."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def _saved(tokens: torch.Tensor) -> bytes:
    out = io.BytesIO()
    torch.save(tokens.clone(), out)
    return out.getvalue()
