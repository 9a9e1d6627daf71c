"""A real vLLM gives the vectors of the training: stock, with STEP pooling and soft tokens."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.data.dataset import Dataset
from model_store.engine.embed import open_embedder
from model_store.notellm2.encoder import FeatureEncoder
from model_store.notellm2.offline import OfflineEmbedder
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.soft_tokens import join_feature
from model_store.views import ItemView

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
COSINE = 1e-3


def saved(tensor: torch.Tensor) -> bytes:
    out = io.BytesIO()
    torch.save(tensor.clone(), out)
    return out.getvalue()


async def test_pictures_and_words_become_the_vectors_of_transformers(
    embedder_server: str, registered: tuple[Registry, Manifest], dataset: Dataset, tmp_path: Path
) -> None:
    registry, manifest = registered
    some = dict(list(dataset.items.items())[:6])
    shown = Dataset(some, {})
    offline = OfflineEmbedder.load(registry, manifest)
    expected = offline.embed(shown, tmp_path)[1]
    wordy = offline.embed(shown, tmp_path, picture=False)[1]
    encoder = FeatureEncoder.load(registry.encoder_folder(manifest))
    embedder = open_embedder(embedder_server, manifest.id, registry)
    await embedder.check()
    try:
        for row, item in enumerate(some.values()):
            assert item.image is not None
            tokens, features = encoder.encode([item.image.read_bytes()])
            blob = join_feature(saved(tokens[0]), saved(features))
            view = ItemView(item.title, item.genres, item.tags, item.description, picture_tokens=blob)
            both, words = await asyncio.gather(embedder.embed(view), embedder.embed(view.without_picture()))
            assert 1 - float(both @ expected[row]) < COSINE
            assert 1 - float(words @ wordy[row]) < COSINE
            assert np.linalg.norm(both - words) > 1e-2
    finally:
        await embedder.close()
