"""How the new weights of an embedder start, beside a language model that was trained before.

Hidden states of different items are almost the same vector: in the first layers of SmolLM2 their mean is 16 times
larger than their spread. A random projection would first have to unlearn that, and random features of pictures would
drown the rest.
"""

import torch
from torch import nn

from model_store.notellm2.model import ItemBatch, ItemModel
from model_store.notellm2.vision import Seen

_FEATURE_SPREAD = 0.5
"""Of a picture's feature, in units of the spread of hidden states."""


def start_new_weights(model: ItemModel, batch: ItemBatch, seen: Seen | None) -> None:
    """Scale the features of pictures, and let the projection begin with the directions in which items differ most.

    Args:
        batch: many items, and `seen` what their pictures show.
    """
    hidden = model.hidden(batch, seen)
    if hidden.features is not None and model.gate is not None:
        factor = _FEATURE_SPREAD * _spread(hidden.whole) / _spread(hidden.features)
        model.connector.feature_std /= factor
        hidden = hidden._replace(features=hidden.features * factor)
    model.project.weight.copy_(_telling(model.fused_whole(hidden, batch), model.project.weight))


def _telling(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The principal directions of `states`, (n, width), whitened and without their mean, as large as `weight`'s rows.

    Rows of `weight`, (dimensions, width), for which there are too few states stay as they are.
    """
    mean = nn.functional.normalize(states.mean(0), dim=0)
    _, spread, directions = torch.linalg.svd(states - states.mean(0), full_matrices=False)
    count = min(len(weight), len(states) - 1)
    rows = directions[:count] / (spread[:count] + spread[:count].mean())[:, None]
    rows = rows - (rows @ mean)[:, None] * mean
    rows = rows * weight.norm(dim=1).mean() / rows.norm(dim=1).mean()
    return torch.cat([rows, weight[count:]])


def _spread(states: torch.Tensor) -> torch.Tensor:
    """The root mean square of the deviations from the mean."""
    return states.std(0).square().mean().sqrt().clamp(min=1e-6)
