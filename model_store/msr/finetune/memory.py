"""Whether a run fits into memory, estimated before anything is loaded."""

import math

import torch

from model_store.memory import GIB, free_bytes
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.base import Base, tensor_sizes
from model_store.msr.finetune.options import FinetuneOptions

_ADAPTER_BYTES = 4 + 4 + 8
"""Weight, gradient and AdamW's two moments of one adapter parameter, in float32."""
_STATES_PER_LAYER = 34
"""Hidden-sized values that one token keeps in one layer for the backward pass (Korthikanti et al., MLSys 2023, without
the attention matrix, which fused kernels do not store). With checkpointing one layer keeps them, and the others one."""
_SPARE = 1.1


def needed_bytes(base: Base, options: FinetuneOptions, tokens: int, bytes_each: int) -> int:
    """Memory of one process: weights, adapter with optimizer, and activations of one batch.

    Args:
        tokens: of the longest prompt.
        bytes_each: of one value in the precision of the run.
    """
    parameters = sum(math.prod(shape) for _, shape, _ in tensor_sizes(base.folder))
    text = base.config.get_text_config()
    layers, hidden = text.num_hidden_layers, text.hidden_size
    # Query, key, value, output and the three matrices of the MLP.
    adapter = layers * options.rank * (8 * hidden + 3 * (hidden + text.intermediate_size))
    kept = layers + _STATES_PER_LAYER if options.gradient_checkpointing else layers * _STATES_PER_LAYER
    activations = options.batch_size * tokens * hidden * kept * bytes_each
    answers = 4 * options.batch_size * text.vocab_size * 4
    return int(_SPARE * (parameters * bytes_each + adapter * _ADAPTER_BYTES + activations + answers))


def require_memory(base: Base, options: FinetuneOptions, tokens: int, bfloat16: bool) -> str:
    """The estimate in words, for the user.

    Raises:
        FinetuneError: more is needed than is free.
    """
    needed, free = needed_bytes(base, options, tokens, 2 if bfloat16 else 4), _free_bytes()
    where = "GPU memory" if torch.cuda.is_available() else "memory"
    known = "an unknown amount" if free is None else f"{free / GIB:.1f} GiB"
    estimate = f"about {needed / GIB:.1f} GiB of {where} needed, {known} free"
    if options.check_memory and free is not None and needed > free:
        raise FinetuneError(
            f"{base.name} with batches of {options.batch_size} pairs of {tokens} tokens: {estimate}. "
            f"Use {_remedy(options)}, a smaller base, or --no-memory-check if you know better"
        )
    return estimate


def _free_bytes() -> int | None:
    """Free memory of the GPU or the machine; None if unknown."""
    if torch.cuda.is_available():
        free: int = torch.cuda.mem_get_info()[0]
        return free
    return free_bytes()


def _remedy(options: FinetuneOptions) -> str:
    remedies = []
    if options.batch_size > 1:
        remedies.append("--batch-size 1 with --accumulate")
    if not options.gradient_checkpointing:
        remedies.append("--gradient-checkpointing")
    return ", ".join([*remedies, "a smaller --picture-side"])
