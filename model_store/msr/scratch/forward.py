"""The forward pass of training: the checkpoint's layers, called on packed rows and pictures of one size.

Transformers computes the attention of each picture in a Python loop; here all pictures are one batch.
The results are those of `Qwen3VLForConditionalGeneration`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from model_store.msr.scratch.architecture import MERGE, TEMPORAL, Sizes
from model_store.msr.scratch.packing import Batch


def patches_of(pictures: npt.NDArray[np.uint8], sizes: Sizes) -> torch.Tensor:
    """Cut pictures of shape (n, height, width, 3) into (n, patches, values), as Qwen's image processor does."""
    rows, columns = sizes.grid
    side = sizes.patch
    scaled = torch.from_numpy(pictures).to(torch.float32) / 127.5 - 1
    cut = scaled.view(-1, rows // MERGE, MERGE, side, columns // MERGE, MERGE, side, 3)
    cut = cut.permute(0, 1, 4, 2, 5, 7, 3, 6)
    twice = cut[:, :, :, :, :, :, None].expand(*cut.shape[:6], TEMPORAL, side, side)
    return twice.reshape(len(pictures), rows * columns, -1)


def encode_images(model: Any, patches: torch.Tensor, sizes: Sizes) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Encode patches of shape (n, patches, values).

    Returns:
        Picture tokens of shape (n, tokens, hidden), and the same for each deepstack level.
    """
    visual = model.model.visual
    count, length, _ = patches.shape
    grid = torch.tensor([[1, *sizes.grid]])
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=MERGE,
    )
    places = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
    state = _embed(visual.patch_embed.proj, patches) + places
    cos, sin = visual.rotary_pos_emb(state, get_vision_position_ids(grid, MERGE))
    levels = []
    for number, block in enumerate(visual.blocks):
        state = state + _attend(block.attn, block.norm1(state), cos, sin)
        state = state + block.mlp(block.norm2(state))
        if number in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(number)]
            levels.append(merger(state).view(count, length // MERGE**2, -1))
    return visual.merger(state).view(count, length // MERGE**2, -1), levels


def _embed(convolution: torch.nn.Conv3d, patches: torch.Tensor) -> torch.Tensor:
    """The convolution sees each patch once: as a matrix product it needs no kernel compiled per batch size."""
    return torch.nn.functional.linear(patches, convolution.weight.flatten(1), convolution.bias)


def _attend(attention: Any, state: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    count, length, width = state.shape
    mixed = attention.qkv(state).view(count, length, 3, attention.num_heads, attention.head_dim)
    query, key, value = mixed.permute(2, 0, 3, 1, 4)
    seen = torch.nn.functional.scaled_dot_product_attention(_rotate(query, cos, sin), _rotate(key, cos, sin), value)
    out: torch.Tensor = attention.proj(seen.transpose(1, 2).reshape(count, length, width))
    return out


def _rotate(state: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = state.shape[-1] // 2
    turned = torch.cat((-state[..., half:], state[..., :half]), dim=-1)
    return (state * cos + turned * sin).to(state.dtype)


def decode(model: Any, batch: Batch, pictures: tuple[torch.Tensor, list[torch.Tensor]] | None) -> torch.Tensor:
    """Run the packed rows through the text model.

    Args:
        pictures: `batch.pictures` as `encode_images` returns them, or None if there are none.

    Returns:
        Last hidden states of shape (rows * length, hidden).
    """
    text = model.model.language_model
    embedded = text.embed_tokens(batch.ids)
    extra: dict[str, Any] = {}
    if pictures is not None:
        tokens, levels = pictures
        flat = embedded.flatten(0, 1)
        embedded = flat.index_copy(0, batch.image_at, tokens.flatten(0, 1).to(flat.dtype)).view_as(embedded)
        seen = torch.zeros(batch.ids.numel(), dtype=torch.bool)
        seen[batch.image_at] = True
        extra = {
            "visual_pos_masks": seen.view_as(batch.ids),
            "deepstack_visual_embeds": [level.flatten(0, 1) for level in levels],
        }
    output = text(
        inputs_embeds=embedded,
        attention_mask=_additive(batch.mask, embedded.dtype),
        position_ids=batch.positions,
        use_cache=False,
        **extra,
    )
    return output.last_hidden_state.flatten(0, 1)


def label_margins(model: Any, states: torch.Tensor, batch: Batch, yes_id: int, no_id: int) -> torch.Tensor:
    """logit(yes) - logit(no) of each suffix, of shape (suffixes,), from the last hidden states."""
    head = model.lm_head.weight
    margins: torch.Tensor = states[batch.rank_at].float() @ (head[yes_id] - head[no_id]).float()
    return margins


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
