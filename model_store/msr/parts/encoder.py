"""Turns pictures into soft tokens of a language model: a frozen vision encoder, then the trained projector."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from model_store.msr.parts.efficientnet import EfficientNetLite, PartError, Stage, VisionSizes
from model_store.pictures import PictureSize, fit_picture

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class ProjectorSizes:
    """`rows` x `columns` cells of the feature map become one soft token each, of `width` numbers."""

    rows: int
    columns: int
    width: int

    @property
    def count(self) -> int:
        """Soft tokens of one picture."""
        return self.rows * self.columns


class Projector(nn.Module):  # type: ignore[misc]
    """LLaVA-1.5's projector (arXiv 2310.03744), two layers, on cells of the feature map; then a normalization.

    The language model expects vectors of the size of its embeddings: the normalization keeps soft tokens there.
    """

    def __init__(self, features: int, sizes: ProjectorSizes, scale: float) -> None:
        super().__init__()
        self.sizes = sizes
        self.enter = nn.Linear(features, sizes.width)
        self.leave = nn.Linear(sizes.width, sizes.width)
        self.norm = nn.LayerNorm(sizes.width)
        nn.init.constant_(self.norm.weight, scale)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(n, count, features) -> (n, count, width)."""
        out: torch.Tensor = self.norm(self.leave(nn.functional.gelu(self.enter(cells))))
        return out


class FrozenVision:
    """Runs the vision encoder on encoded pictures."""

    def __init__(self, model: EfficientNetLite) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a folder that `models fetch-parts` wrote.

        Raises:
            PartError: it is none.
        """
        config, state = read_part(folder)
        return cls(efficientnet_of(config, state, folder))

    def cells(self, pictures: Sequence[bytes], rows: int, columns: int) -> torch.Tensor:
        """The mean features in each cell of a grid over each picture, of shape (n, rows * columns, features), float32.

        Raises:
            PIL.UnidentifiedImageError: bytes are not a picture.
        """
        size = PictureSize(self.model.sizes.picture, self.model.sizes.picture)
        found = []
        for start in range(0, len(pictures), _AT_ONCE):
            pixels = np.stack([read_pixels(picture, size) for picture in pictures[start : start + _AT_ONCE]])
            with torch.inference_mode():
                features = self.model(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
                found.append(nn.functional.adaptive_avg_pool2d(features, (rows, columns)).flatten(2).transpose(1, 2))
        return torch.cat(found) if found else torch.zeros(0, rows * columns, self.model.sizes.features)


class PictureEncoder:
    """The vision encoder and the projector of one model version."""

    def __init__(self, vision: FrozenVision, projector: Projector) -> None:
        self.vision, self.projector = vision, projector.eval()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the `encoder` folder of a version.

        Raises:
            PartError: it is none.
        """
        config, state = read_part(folder)
        try:
            sizes = ProjectorSizes(**config["projector"])
            features = int(config["vision"]["features"])
        except (KeyError, TypeError, ValueError) as error:
            raise PartError(f"{folder / CONFIG} does not describe a projector: {error}") from None
        vision, projector = (
            {k.removeprefix(part): v for k, v in state.items() if k.startswith(part)} for part in _PARTS
        )
        found = Projector(features, sizes, 1.0)
        fill_module(found, projector, folder)
        return cls(FrozenVision(efficientnet_of(config, vision, folder)), found)

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads, in float32."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {f"{_PARTS[0]}{name}": tensor.float() for name, tensor in self.vision.model.state_dict().items()}
        state |= {f"{_PARTS[1]}{name}": tensor.float() for name, tensor in self.projector.state_dict().items()}
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
        config = {"vision": asdict(self.vision.model.sizes), "projector": asdict(self.projector.sizes)}
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")

    def encode(self, pictures: Sequence[bytes]) -> torch.Tensor:
        """The soft tokens of encoded pictures, of shape (n, count, width), float32.

        Raises:
            PIL.UnidentifiedImageError: bytes are not a picture.
        """
        sizes = self.projector.sizes
        with torch.inference_mode():
            return self.projector(self.vision.cells(pictures, sizes.rows, sizes.columns))


_PARTS = ("vision.", "projector.")


def save_vision(model: EfficientNetLite, folder: Path) -> None:
    """Write the folder that `FrozenVision.load` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"vision": asdict(model.sizes)}, indent=1) + "\n")


def read_pixels(picture: bytes, size: PictureSize) -> Any:
    """RGB of shape (height, width, 3), uint8."""
    with Image.open(io.BytesIO(fit_picture(picture, size))) as fitted:
        return np.asarray(fitted, dtype=np.uint8)


def read_part(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and the tensors of a folder with `config.json` and `model.safetensors`.

    Raises:
        PartError: a file is missing or damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        state = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise PartError(f"{error.filename or folder} is missing: `tastestream models fetch-parts` writes it") from None
    except (ValueError, OSError, SafetensorError) as error:
        raise PartError(f"{folder} can't be read: {error}; copy it again") from None
    if not isinstance(config, dict):
        raise PartError(f"{folder / CONFIG} is not an object")
    return config, state


def efficientnet_of(config: dict[str, Any], state: dict[str, torch.Tensor], folder: Path) -> EfficientNetLite:
    """The vision encoder that a configuration describes.

    Raises:
        PartError: it describes none, or the tensors are others.
    """
    try:
        fields = dict(config["vision"])
        model = EfficientNetLite(VisionSizes(**fields | {"stages": tuple(Stage(**one) for one in fields["stages"])}))
    except (KeyError, TypeError, ValueError) as error:
        raise PartError(f"{folder / CONFIG} does not describe a vision encoder: {error}") from None
    fill_module(model, state, folder)
    return model


def fill_module(module: nn.Module, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Load tensors in float32.

    Raises:
        PartError: they are not those of the module.
    """
    try:
        module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise PartError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {first}") from None
