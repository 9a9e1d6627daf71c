"""The architectures that can be fine-tuned, and what each needs in training and in vLLM."""

from dataclasses import dataclass
from typing import Any

from model_store.msr.finetune import FinetuneError

LANGUAGE_MODEL = (
    r"(?:.*\.)?language_model\.(?:.*\.)?layers\.\d+\.(?:self_attn\.(?:q|k|v|o)_proj|mlp\.(?:gate|up|down)_proj)"
)
"""The layers that get an adapter: PEFT's `all-linear` reaches the vision tower, too, whose layers have other names."""


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture.

    `pooling`: the class that vLLM converts to a scoring model. For Qwen3-VL it must have the name of the converted one,
    for others not: by such a name, vLLM takes Gemma 3 for the text model without a vision tower.
    `picture`: what vLLM puts into a prompt for a picture, before the processor expands it.
    """

    pooling: str
    picture: str


_QWEN_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
FAMILIES = {
    "qwen3_vl": Family("Qwen3VLForSequenceClassification", _QWEN_PICTURE),
    "qwen2_5_vl": Family("Qwen2_5_VLForConditionalGeneration", _QWEN_PICTURE),
    "llava_next": Family("LlavaNextForConditionalGeneration", "<image>"),
    "gemma3": Family("Gemma3ForConditionalGeneration", "<start_of_image>"),
}


def family_of(config: Any, base: str) -> Family:
    """The family of a checkpoint's configuration.

    Raises:
        FinetuneError: another architecture.
    """
    if (found := FAMILIES.get(config.model_type)) is None:
        raise FinetuneError(
            f"{base} has the architecture {config.model_type}; choose a base of {', '.join(sorted(FAMILIES))} (--base)"
        )
    return found
