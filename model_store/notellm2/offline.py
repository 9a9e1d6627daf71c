"""An embedder version in this process, without a server: for evaluation, and to check what servers answer."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from model_store.data.dataset import Dataset
from model_store.embedder_head import Floats, Head
from model_store.msr.scratch.catalogue import Catalogue
from model_store.notellm2.base import load_embedder_llm
from model_store.notellm2.connector import Connector, ConnectorSizes
from model_store.notellm2.encoder import FeatureEncoder
from model_store.notellm2.features import look_at_all
from model_store.notellm2.items import Items, embed_all
from model_store.notellm2.model import ItemModel
from model_store.notellm2.tokens import ItemTokens
from model_store.pictures import PictureSize
from model_store.progress import Report, quiet
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry

if TYPE_CHECKING:
    from model_store.notellm2.train import TrainedEmbedder


class OfflineEmbedder:
    """The model of a version and what tokenizes and sees for it.

    Args:
        tokens, encoder: None where only `model` is needed; `encoder` also for a version without pictures.
    """

    def __init__(self, model: ItemModel, tokens: ItemTokens | None, encoder: FeatureEncoder | None) -> None:
        self.model, self.tokens, self.encoder = model.eval(), tokens, encoder

    @classmethod
    def load(cls, registry: Registry, manifest: Manifest) -> Self:
        """
        Raises:
            ManifestError: the version is no embedder, or its files were changed.
        """
        prompts, head = registry.embed_prompts(manifest), registry.head(manifest)
        llm, tokenizer = load_embedder_llm(registry.local_folder(manifest))
        shape = manifest.picture_tokens
        encoder = FeatureEncoder.load(registry.encoder_folder(manifest)) if shape else None
        tokens = ItemTokens(tokenizer, prompts, shape.count if shape else 0)
        assert head is not None  # noqa: S101 - the registry has checked it
        return cls(_assembled(llm, encoder.connector if encoder else None, head), tokens, encoder)

    @classmethod
    def of_parts(cls, llm: Any, trained: "TrainedEmbedder") -> Self:
        """A trained embedder with another language model, in float32."""
        model = _assembled(llm, trained.model.connector.float(), trained.model.head())
        return cls(model, None, None)

    def embed(
        self,
        dataset: Dataset,
        folder: Path,
        *,
        words: bool = True,
        picture: bool = True,
        progress: Report = quiet,
    ) -> tuple[list[str], Floats]:
        """The ids of a data set's items and their vectors, of shape (n, dimensions), float32.

        Args:
            folder: keeps what the vision encoder sees, for the next time.
            words, picture: whether the model is shown them.

        Raises:
            DatasetError: a picture can't be read.
        """
        assert self.tokens is not None  # noqa: S101
        catalogue = Catalogue(dataset, PictureSize())
        seen = None
        if self.encoder is not None and picture and catalogue.images:
            seen = look_at_all(self.encoder.vision, catalogue.images, folder, progress)
        items = Items(catalogue, self.tokens, seen)
        with torch.inference_mode():
            vectors = embed_all(
                self._embed(items),
                items,
                range(len(items)),
                words=words,
                picture=picture,
                progress=lambda done: progress("items", done, f"{len(items)} items"),
            )
        return catalogue.ids, np.asarray(vectors.numpy(), dtype=np.float32)

    def _embed(self, items: Items) -> Callable[..., Any]:
        return lambda numbers, picture, words=True: self.model(*items.batch(numbers, picture, words=words))


def _assembled(llm: Any, connector: Connector | None, head: Head) -> ItemModel:
    width = head.hidden
    without = Connector(1, 1, 1, ConnectorSizes(1, width=width), 1.0)
    model = ItemModel(llm, connector or without, head.dimensions, late_fusion=head.gate is not None)
    model.take_head(head)
    return model
