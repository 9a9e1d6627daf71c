"""From a frozen vision encoder to the language model (NoteLLM-2, 3.1): query tokens, an MLP, a feature."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from model_store.notellm2.vision import Seen


@dataclass(frozen=True, slots=True)
class ConnectorSizes:
    """`queries` tokens of `inner` numbers ask the cells of a picture in `layers` layers, and become `width` wide."""

    queries: int = 16
    inner: int = 256
    layers: int = 2
    heads: int = 4
    width: int = 576


class Connector(nn.Module):  # type: ignore[misc]
    """The soft tokens of a picture, and its feature for the late fusion.

    Args:
        cells, width, feature: cells of a picture, their numbers, and those of its feature.
        scale: the spread of the language model's embeddings, which soft tokens start with.

    Attributes:
        mean, std, feature_mean, feature_std: of the encoder's numbers on the pictures of the training. They are stored.
    """

    mean: torch.Tensor
    std: torch.Tensor
    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def __init__(self, cells: int, width: int, feature: int, sizes: ConnectorSizes, scale: float) -> None:
        super().__init__()
        self.sizes = sizes
        for name, numbers in (("", width), ("feature_", feature)):
            self.register_buffer(f"{name}mean", torch.zeros(numbers))
            self.register_buffer(f"{name}std", torch.ones(numbers))
        self.enter = nn.Linear(width, sizes.inner)
        self.places = nn.Parameter(0.02 * torch.randn(cells, sizes.inner))
        self.queries = nn.Parameter(torch.randn(sizes.queries, sizes.inner))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                sizes.inner, sizes.heads, 2 * sizes.inner, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(sizes.layers)
        )
        self.leave = nn.Sequential(
            nn.LayerNorm(sizes.inner),
            nn.Linear(sizes.inner, sizes.width),
            nn.GELU(),
            nn.Linear(sizes.width, sizes.width),
        )
        self.norm = nn.LayerNorm(sizes.width)
        nn.init.constant_(self.norm.weight, scale)
        self.project_feature = nn.Linear(feature, sizes.width, bias=False)

    def standardize(self, seen: Seen) -> None:
        """Take mean and spread from the pictures of the training; a single one has no spread, and 1 stays."""
        for name, numbers in (("", seen.cells.flatten(0, 1)), ("feature_", seen.feature)):
            getattr(self, f"{name}mean").copy_(numbers.float().mean(0))
            if len(numbers) > 1:
                getattr(self, f"{name}std").copy_(numbers.float().std(0).clamp(min=1e-3))

    def forward(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """Soft tokens of shape (n, queries, width), and features of shape (n, width)."""
        cells = self.enter((seen.cells - self.mean) / self.std) + self.places
        asked = self.queries.expand(len(cells), -1, -1)
        for layer in self.layers:
            asked = layer(asked, cells)
        soft = self.norm(self.leave(asked))
        feature = self.project_feature((seen.feature - self.feature_mean) / self.feature_std)
        return cast("torch.Tensor", soft), cast("torch.Tensor", feature)
