"""The packed forward pass of a text LLM, with soft tokens in the places of the pictures."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from model_store.msr.parts.encoding import SOFT
from model_store.msr.scratch.packing import Batch, PackedPrompt, pack


def pack_texts(prompts: Sequence[PackedPrompt], length: int) -> Batch:
    """Pack prompts into rows of `length` tokens; the positions of all tokens count alike."""
    return pack(prompts, length, SOFT, None)


def decode(decoder: Any, batch: Batch, soft: torch.Tensor | None) -> torch.Tensor:
    """Run packed rows through the layers of a language model.

    Args:
        decoder: the model without its head, e.g. `LlamaModel`, with eager attention.
        soft: the soft tokens of `batch.pictures`, of shape (pictures, count, width); None if there are none.

    Returns:
        Last hidden states of shape (rows * length, width).
    """
    embedded = decoder.embed_tokens(batch.ids.clamp(min=0))
    if soft is not None:
        flat = embedded.flatten(0, 1)
        embedded = flat.index_copy(0, batch.image_at, soft.flatten(0, 1).to(flat.dtype)).view_as(embedded)
    mask = torch.zeros(batch.mask.shape, dtype=embedded.dtype, device=embedded.device)
    mask = mask.masked_fill_(~batch.mask, torch.finfo(embedded.dtype).min)
    output = decoder(inputs_embeds=embedded, attention_mask=mask, position_ids=batch.positions[0], use_cache=False)
    return output.last_hidden_state.flatten(0, 1)


def margins(head: torch.Tensor, states: torch.Tensor, at: torch.Tensor, yes_id: int, no_id: int) -> torch.Tensor:
    """logit(yes) - logit(no) at the flat positions `at`, of shape (positions,); `head` is the output matrix."""
    return states[at].float() @ (head[yes_id].float() - head[no_id].float())


def token_loss(head: torch.Tensor, states: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the generated tokens."""
    return cross_entropy(states[batch.write_at].float() @ head.float().T, batch.write)
