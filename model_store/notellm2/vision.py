"""Frozen vision encoders of an embedder: what a picture shows, as cells and as one feature.

| kind           | cells                                     | feature                                   |
| -------------- | ----------------------------------------- | ----------------------------------------- |
| `builtin`      | low frequencies of blocks of 8 x 8 pixels | their mean and spread, and coarse colours |
| `efficientnet` | means of the last map on a 4 x 4 grid     | its mean                                  |
| `transformers` | the patches of the last layer             | CLS of the last layer, or their mean      |

`builtin` has no weights: it is for trainings from scratch, and tells colours, edges and coarse shapes.
"""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from model_store.msr.parts.efficientnet import PartError
from model_store.msr.parts.encoder import FrozenVision, efficientnet_of, read_pixels
from model_store.pictures import PictureSize

BUILTIN = "builtin"
_GRID = 4
_AT_ONCE = 16
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Seen(NamedTuple):
    """What encoders say about n pictures: `cells` of shape (n, cells, width), `feature` of shape (n, numbers)."""

    cells: torch.Tensor
    feature: torch.Tensor


class Vision(ABC):
    """A frozen vision encoder.

    Attributes:
        side: pictures are stretched to so many pixels.
    """

    side: int

    @abstractmethod
    def look(self, pixels: torch.Tensor) -> Seen:
        """What the pictures show.

        Args:
            pixels: of shape (n, 3, side, side), 0..255, float32.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `open_saved` needs in addition to the weights."""

    def state(self) -> dict[str, torch.Tensor]:
        """The weights."""
        return {}

    @property
    def key(self) -> str:
        """Identifies the encoder by its weights, so that features which another one saw are not used.

        It is the same for the folder that an encoder came from and for a version that has a copy of it.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(f"{type(self).__name__} {self.side}".encode())
        for name, weight in sorted(self.state().items()):
            digest.update(f"\n{name} {tuple(weight.shape)}\n".encode())
            digest.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encode(self, pictures: Sequence[bytes]) -> Seen:
        """`look` at encoded pictures.

        Raises:
            PIL.UnidentifiedImageError: bytes are not a picture.
        """
        size, found = PictureSize(self.side, self.side), list[Seen]()
        for start in range(0, len(pictures), _AT_ONCE):
            pixels = np.stack([read_pixels(picture, size) for picture in pictures[start : start + _AT_ONCE]])
            with torch.inference_mode():
                found.append(self.look(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()))
        return Seen(*(torch.cat(part) for part in zip(*found, strict=True)))


class BlockVision(Vision):
    """Without weights: the low frequencies (DCT-II) of brightness and of two colour axes in each block."""

    side = 64
    _BLOCK, _BRIGHT, _COLOUR = 8, 10, 3
    key = "builtin 1"

    def __init__(self) -> None:
        n = self._BLOCK
        steps = torch.arange(n, dtype=torch.float32)
        basis = torch.cos(math.pi / n * (steps[None, :] + 0.5) * steps[:, None]) * math.sqrt(2 / n)
        basis[0] /= math.sqrt(2)
        order = sorted(((i, j) for i in range(n) for j in range(n)), key=lambda place: (sum(place), place))
        planes = [torch.outer(basis[i], basis[j]).flatten() for i, j in order[: self._BRIGHT]]
        self._planes = torch.stack(planes) / n

    def look(self, pixels: torch.Tensor) -> Seen:
        red, green, blue = (pixels / 127.5 - 1).unbind(1)
        axes = torch.stack([(red + green + blue) / 3, (red - green) / 2, (red + green) / 4 - blue / 2], 1)
        blocks = torch.nn.functional.unfold(axes, self._BLOCK, stride=self._BLOCK)
        parts = blocks.unflatten(1, (3, -1)).transpose(2, 3)
        waves = parts @ self._planes.T
        cells = torch.cat([waves[:, 0], waves[:, 1, :, : self._COLOUR], waves[:, 2, :, : self._COLOUR]], -1)
        coarse = torch.nn.functional.adaptive_avg_pool2d(axes, _GRID).flatten(1)
        return Seen(cells, torch.cat([cells.mean(1), cells.std(1), coarse], -1))

    def config(self) -> dict[str, Any]:
        return {"kind": BUILTIN}


class EfficientNetVision(Vision):
    """The encoder that `models fetch-parts` writes."""

    def __init__(self, frozen: FrozenVision) -> None:
        self._frozen = frozen
        self.side = frozen.model.sizes.picture

    def look(self, pixels: torch.Tensor) -> Seen:
        found = self._frozen.model(pixels)
        cells = torch.nn.functional.adaptive_avg_pool2d(found, (_GRID, _GRID)).flatten(2).transpose(1, 2)
        return Seen(cells, found.mean((2, 3)))

    def config(self) -> dict[str, Any]:
        return {"kind": "efficientnet", "vision": asdict(self._frozen.model.sizes)}

    def state(self) -> dict[str, torch.Tensor]:
        return dict(self._frozen.model.state_dict())


class TransformersVision(Vision):
    """Any vision encoder of Hugging Face, such as those of CLIP, SigLIP, DINOv2 and ViT."""

    def __init__(self, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        whole = model.eval().requires_grad_(False)
        self._model = getattr(whole, "vision_model", whole)
        self._config = getattr(whole.config, "vision_config", whole.config)
        self._mean, self._std = tuple(mean), tuple(std)
        self.side = int(self._config.image_size)

    def look(self, pixels: torch.Tensor) -> Seen:
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (self._mean, self._std))
        states = self._model(pixel_values=(pixels / 255 - mean) / std).last_hidden_state
        patches = (self.side // int(self._config.patch_size)) ** 2
        before = states.shape[1] - patches
        return Seen(states[:, before:], states[:, 0] if before else states.mean(1))

    def config(self) -> dict[str, Any]:
        given = self._config.to_dict()
        return {"kind": "transformers", "vision": given, "mean": self._mean, "std": self._std}

    def state(self) -> dict[str, torch.Tensor]:
        return dict(self._model.state_dict())

    @property
    def key(self) -> str:
        return f"{super().key} {self._mean} {self._std}"


def open_vision(where: str) -> Vision:
    """`builtin`, a folder of `models fetch-parts`, or one of a Hugging Face vision encoder.

    Raises:
        PartError: it is none of them.
    """
    if where == BUILTIN:
        return BlockVision()
    folder = Path(where)
    if not (folder / "config.json").is_file():
        raise PartError(f"{folder} has no config.json: name the folder of a vision encoder, or `{BUILTIN}`")
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PartError(f"{folder / 'config.json'} can't be read: {error}") from None
    if "model_type" not in config:
        return EfficientNetVision(FrozenVision.load(folder))
    try:
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        return TransformersVision(model, *_normalization(folder))
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PartError(f"{folder} is no vision encoder that transformers can load: {first}") from None


def open_saved(config: dict[str, Any], state: dict[str, torch.Tensor], folder: Path) -> Vision:
    """The vision encoder of a version, from what `config` and `state` gave.

    Raises:
        PartError: they describe none.
    """
    match config.get("kind"):
        case "builtin":
            return BlockVision()
        case "efficientnet":
            return EfficientNetVision(FrozenVision(efficientnet_of(config, state, folder)))
        case "transformers":
            try:
                given = dict(config["vision"])
                model = AutoModel.from_config(AutoConfig.for_model(given.pop("model_type"), **given))
                found = TransformersVision(model, config["mean"], config["std"])
                found._model.load_state_dict(state)
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise PartError(f"{folder} has no vision encoder that transformers can load: {error}") from None
            return found
    raise PartError(f"{folder} has a vision encoder of an unknown kind, {config.get('kind')!r}")


def _normalization(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of each colour, as the encoder was trained with; by default those of ImageNet."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return _IMAGENET_MEAN, _IMAGENET_STD
    given = json.loads(path.read_text("utf-8"))
    return given.get("image_mean", _IMAGENET_MEAN), given.get("image_std", _IMAGENET_STD)
