"""The device that this machine trains on."""

import torch

from model_store.precision import multiplies_bfloat16


def training_device() -> torch.device:
    """The first GPU, or else the processors."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_fast(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16 at more than the speed of float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return multiplies_bfloat16()
