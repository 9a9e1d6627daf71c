"""The model of NoteLLM-2 in training: language model, connector, late fusion and projection.

Hidden states are standardized before the fusion, which the paper does not describe. Those of a pretrained model are
one vector common to all items plus little: in the third layer of SmolLM2 their mean is 16 times as large as their
spread. An optimizer whose steps have the same size for all weights, such as Adam, then moves all vectors together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from model_store.embedder_head import Floats, Head
from model_store.notellm2.connector import Connector
from model_store.notellm2.tokens import SOFT, EncodedItem
from model_store.notellm2.vision import Seen

FIRST_LOG_SCALE = 2.0
"""The temperature starts at e^-2. With the paper's e^-3, the loss of untrained weights is twice that of chance."""
_MOST_LOG_SCALE = math.log(100.0)
_ROWS_AT_ONCE = 24
_LEAST_SPREAD = 1e-4


class Vectors(NamedTuple):
    """Unit vectors of a batch.

    `whole` are those of all items, (n, dimensions); `picture` those of the positions that have seen only the picture,
    (m, dimensions), of the items `pictured`, (m,).
    """

    whole: torch.Tensor
    picture: torch.Tensor
    pictured: torch.Tensor


class Hidden(NamedTuple):
    """Of a batch: hidden states at both read positions, each (n, width), and features of its m pictures, (m, width).

    `picture` has no meaning for an item that is not read there.
    """

    whole: torch.Tensor
    picture: torch.Tensor
    features: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class ItemBatch:
    """Items, padded on the right.

    Attributes:
        ids: (n, length).
        mask: (n, length), True at tokens.
        last: (n,), the position that is read last.
        read_picture: (n,), the position that has seen only the picture; -1 for none.
        pictured: (m,), the items with a picture.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    last: torch.Tensor
    read_picture: torch.Tensor
    pictured: torch.Tensor

    @classmethod
    def pad(cls, items: Sequence[EncodedItem]) -> "ItemBatch":
        longest = max(len(item.ids) for item in items)
        ids = torch.zeros(len(items), longest, dtype=torch.long)
        mask = torch.zeros(len(items), longest, dtype=torch.bool)
        for row, item in enumerate(items):
            ids[row, : len(item.ids)] = torch.tensor(item.ids)
            mask[row, : len(item.ids)] = True
        return cls(
            ids,
            mask,
            torch.tensor([item.last for item in items]),
            torch.tensor([item.picture for item in items]),
            torch.tensor([row for row, item in enumerate(items) if item.ids[0] == SOFT], dtype=torch.long),
        )

    def to(self, device: torch.device) -> "ItemBatch":
        """The same on `device`."""
        return ItemBatch(*(getattr(self, one.name).to(device) for one in fields(self)))


class Standardized(nn.Module):  # type: ignore[misc]
    """Rows with mean 0 and spread 1: over the batch in training, over many items afterwards.

    Attributes:
        mean, spread: over many items, of shape (width,). They are stored.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        mean, spread = _moments(rows) if self.training and len(rows) > 1 else (self.mean, self.spread)
        return (rows - mean) / spread

    def take(self, rows: torch.Tensor) -> None:
        """Store mean and spread of `rows`, (n, width), n > 1."""
        for stored, found in zip((self.mean, self.spread), _moments(rows), strict=True):
            stored.copy_(found)


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.mean(0), rows.std(0).clamp(min=_LEAST_SPREAD)


class ItemModel(nn.Module):  # type: ignore[misc]
    """
    Args:
        llm: a causal language model of transformers, perhaps with adapters.
        dimensions: of a vector.
        late_fusion: mix hidden states with the picture's feature.
    """

    def __init__(self, llm: Any, connector: Connector, dimensions: int, *, late_fusion: bool) -> None:
        super().__init__()
        self.llm, self.connector = llm, connector
        width = llm.get_input_embeddings().weight.shape[1]
        self.whole, self.picture = Standardized(width), Standardized(width)
        self.gate = nn.Linear(2 * width, width, bias=False) if late_fusion else None
        self.project = nn.Linear(width, dimensions, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    @property
    def scale(self) -> torch.Tensor:
        """The inverse temperature of the loss."""
        return self.log_scale.clamp(max=_MOST_LOG_SCALE).exp()

    def head(self) -> Head:
        """The head that the service computes with."""
        positions = self.whole, self.picture
        return Head(
            project=_array(self.project.weight),
            gate=None if self.gate is None else _array(self.gate.weight),
            mean=np.stack([_array(position.mean) for position in positions]),
            spread=np.stack([_array(position.spread) for position in positions]),
        )

    def take_head(self, head: Head) -> None:
        """Take the weights of `head`, which has the shapes of this model."""
        self.project.weight.data = torch.from_numpy(head.project.copy())
        if self.gate is not None and head.gate is not None:
            self.gate.weight.data = torch.from_numpy(head.gate.copy())
        if head.mean is not None and head.spread is not None:
            for row, position in enumerate((self.whole, self.picture)):
                position.mean.copy_(torch.from_numpy(head.mean[row]))
                position.spread.copy_(torch.from_numpy(head.spread[row]))

    def settle(self, batch: ItemBatch, seen: Seen | None) -> None:
        """Store what is standardized with after the training: mean and spread over the items of `batch`."""
        hidden = self.hidden(batch, seen)
        self.whole.take(hidden.whole)
        alone = hidden.picture[batch.read_picture >= 0]
        if len(alone) > 1:
            self.picture.take(alone)

    def forward(self, batch: ItemBatch, seen: Seen | None) -> Vectors:
        """The vectors of items.

        Args:
            seen: the pictures of `batch.pictured`, in their order; None if there are none.
        """
        hidden = self.hidden(batch, seen)
        has_both = batch.read_picture[batch.pictured] >= 0
        asked = batch.pictured[has_both]
        with torch.autocast(hidden.whole.device.type, enabled=False):
            whole, picture = self.whole(hidden.whole), self.picture(hidden.picture[asked])
            if hidden.features is not None:
                mixed = self.fused(whole[batch.pictured], hidden.features)
                whole = whole.index_copy(0, batch.pictured, mixed)
                picture = self.fused(picture, hidden.features[has_both])
            return Vectors(self._vectors(whole), self._vectors(picture), asked)

    def hidden(self, batch: ItemBatch, seen: Seen | None) -> Hidden:
        """What is standardized, and what late fusion mixes with it."""
        embedded = self.llm.get_input_embeddings()(batch.ids.clamp(min=0))
        features = None
        if seen is not None:
            soft, features = self.connector(seen)
            at = (batch.ids == SOFT).flatten().nonzero().squeeze(1)
            flat = embedded.flatten(0, 1)
            embedded = flat.index_copy(0, at, soft.flatten(0, 1).to(flat.dtype)).view_as(embedded)
            features = features.float()
        return Hidden(*self._read(embedded, batch), features)

    def _read(self, embedded: torch.Tensor, batch: ItemBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """The hidden states of the two read positions, each (n, width), float32.

        Items of like length are computed together: padding all to the longest doubles the work.
        """
        decoder = self.llm.get_base_model().model if hasattr(self.llm, "get_base_model") else self.llm.model
        places = torch.stack([batch.last, batch.read_picture.clamp(min=0)], 1)
        lengths = batch.mask.sum(1)
        order = lengths.argsort(stable=True)
        found = []
        for rows in order.split(_ROWS_AT_ONCE):
            some = slice(int(lengths[rows].max()))
            mask = batch.mask[rows, some].long()
            states = decoder(inputs_embeds=embedded[rows, some], attention_mask=mask, use_cache=False).last_hidden_state
            at = places[rows].unsqueeze(-1).expand(-1, -1, states.shape[-1])
            found.append(states.gather(1, at).float())
        last, picture = torch.cat(found)[order.argsort()].unbind(1)
        return last, picture

    def fused(self, states: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Late fusion: z * h + (1 - z) * v."""
        if self.gate is None:
            return states
        share = torch.sigmoid(self.gate(torch.cat([states, features], -1)))
        return cast("torch.Tensor", share * states + (1 - share) * features)

    def _vectors(self, states: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", nn.functional.normalize(self.project(states), dim=-1))


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.detach().float().cpu().numpy())
