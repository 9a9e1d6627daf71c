"""A frozen EfficientNet-Lite (arXiv 1905.11946; the Lite variants drop squeeze-and-excitation and use ReLU6).

Batch normalization is folded into the convolutions: a frozen network has no other use for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import pad

from model_store.errors import UserError

_NORM_EPSILON = 1e-3
_IGNORED = ("_fc.", "num_batches_tracked")
"""The classifier of the pretraining and counters of its batches."""


class PartError(UserError):
    """A part can't be converted or used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one width: the expansion and the channels of each, the stride of the first, the kernel's side."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int


@dataclass(frozen=True, slots=True)
class VisionSizes:
    """The architecture; the defaults are Lite0's. `picture` is the side of its square input in pixels."""

    stem: int = 32
    stages: tuple[Stage, ...] = (
        Stage(1, 16, 1, 1, 3),
        Stage(6, 24, 2, 2, 3),
        Stage(6, 40, 2, 2, 5),
        Stage(6, 80, 3, 2, 3),
        Stage(6, 112, 3, 1, 5),
        Stage(6, 192, 4, 2, 5),
        Stage(6, 320, 1, 1, 3),
    )
    features: int = 1280
    picture: int = 224


class SameConv(nn.Conv2d):  # type: ignore[misc]
    """A convolution with TensorFlow's `same` padding, which pads a strided one more on the far side."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(n, in, height, width) -> (n, out, ceil(height / stride), ceil(width / stride))."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        amounts: list[int] = []
        for side in reversed(states.shape[2:]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            amounts += [total // 2, total - total // 2]
        return self._conv_forward(pad(states, amounts) if any(amounts) else states, self.weight, self.bias)


class Block(nn.Module):  # type: ignore[misc]
    """An inverted bottleneck (MBConv): expand, convolve each channel, project; a shortcut where shapes allow one."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.expand = SameConv(inputs, inner, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv(inner, inner, stage.kernel, stride, groups=inner)
        self.project = SameConv(inner, stage.channels, 1)
        self.shortcut = stride == 1 and inputs == stage.channels

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(n, in, height, width) -> (n, out, height / stride, width / stride)."""
        inner = states if self.expand is None else self.expand(states).clamp_(0, 6)
        out: torch.Tensor = self.project(self.depthwise(inner).clamp_(0, 6))
        return out + states if self.shortcut else out


class EfficientNetLite(nn.Module):  # type: ignore[misc]
    """The network up to its feature map."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.stem = SameConv(3, sizes.stem, 3, 2)
        blocks: list[Block] = []
        channels = sizes.stem
        for stage in sizes.stages:
            for number in range(stage.blocks):
                blocks.append(Block(channels, stage, stage.stride if number == 0 else 1))
                channels = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(channels, sizes.features, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode pixels of shape (n, 3, picture, picture), values 0..255: (n, features, picture / 32, picture / 32)."""
        states = self.stem(((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)).clamp_(0, 6)
        for block in self.blocks:
            states = block(states)
        out: torch.Tensor = self.head(states).clamp_(0, 6)
        return out


def convert_state(published: Mapping[str, torch.Tensor], sizes: VisionSizes) -> dict[str, torch.Tensor]:
    """Translate a checkpoint of the published PyTorch implementations into the state of `EfficientNetLite`.

    Raises:
        PartError: tensors are missing or left over, or have other shapes: it is a checkpoint of another architecture.
    """
    left = {name for name in published if not any(part in name for part in _IGNORED)}
    converted: dict[str, torch.Tensor] = {}
    for ours, weight, norm in _pairs(sizes):
        wanted = [f"{weight}.weight", *(f"{norm}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var"))]
        if missing := [name for name in wanted if name not in published]:
            raise PartError(f"the vision checkpoint lacks {missing[0]}: it is not an EfficientNet-Lite of these sizes")
        kernel, gain, shift, mean, variance = (published[name].float() for name in wanted)
        gain = gain / torch.sqrt(variance + _NORM_EPSILON)
        converted[f"{ours}.weight"] = kernel * gain[:, None, None, None]
        converted[f"{ours}.bias"] = shift - mean * gain
        left.difference_update(wanted)
    if left:
        raise PartError(f"the vision checkpoint also has {min(left)}: it is not an EfficientNet-Lite of these sizes")
    for name, tensor in EfficientNetLite(sizes).state_dict().items():
        if converted[name].shape != tensor.shape:
            raise PartError(
                f"{name} of the vision checkpoint is {tuple(converted[name].shape)}, not {tuple(tensor.shape)}"
            )
    return converted


def _pairs(sizes: VisionSizes) -> list[tuple[str, str, str]]:
    """(our convolution, the published convolution, its batch normalization) of every layer."""
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    expansions = [stage.expansion for stage in sizes.stages for _ in range(stage.blocks)]
    for number, expansion in enumerate(expansions):
        theirs, ours = f"_blocks.{number}", f"blocks.{number}"
        if expansion > 1:
            pairs.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
        pairs.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
        pairs.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
    return pairs
