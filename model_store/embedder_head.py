"""The head of an embedder: late fusion and projection of what the language model's positions say (NoteLLM-2, 3.3).

    h = (state - mean) / spread,  z = sigmoid(W_g [h; v]),  e = z * h + (1 - z) * v,  vector = W_o e / |W_o e|

v is the picture's feature. An item without a picture has no v: e is h. The paper does not standardize hidden states;
those of a pretrained model are nearly the same vector for all items, see `model_store.notellm2.model`.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from model_store.errors import UserError

Floats = npt.NDArray[np.float32]
MAX_BYTES = 256 * 2**20
_LEAST_NORM = 1e-12
_NAMES = ("project", "gate", "mean", "spread")
_DAMAGED = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy raises for a damaged file, which may claim any size, compression or encryption."""


class HeadError(UserError):
    """The file of a head is malformed; the message names it."""


@dataclass(frozen=True)
class Head:
    """
    Args:
        project: W_o, of shape (dimensions, hidden).
        gate: W_g, of shape (hidden, 2 * hidden); None for a model without late fusion.
        mean, spread: of hidden states over items, of shape (2, hidden): at the position that has seen the whole item,
            and at the one that has seen only its picture. None leaves states as they are.
    """

    project: Floats
    gate: Floats | None = None
    mean: Floats | None = None
    spread: Floats | None = None

    @property
    def dimensions(self) -> int:
        return int(self.project.shape[0])

    @property
    def hidden(self) -> int:
        return int(self.project.shape[1])

    def __call__(self, states: Floats, feature: Floats | None = None) -> Floats:
        """The unit vectors of hidden states.

        Args:
            states: of whole items, of shape (n, hidden).
            feature: of the picture, of shape (hidden,); None without one.

        Returns:
            Shape (n, dimensions), float32.

        Raises:
            ValueError: shapes differ from those of the head, or a vector has no direction.
        """
        if states.ndim != 2 or states.shape[1] != self.hidden:
            raise ValueError(f"hidden states of shape {states.shape}, and the head reads (n, {self.hidden})")
        fused = states.astype(np.float32)
        if self.mean is not None and self.spread is not None:
            fused = (fused - self.mean[0]) / self.spread[0]
        if feature is not None and self.gate is not None:
            if feature.shape != (self.hidden,):
                raise ValueError(f"a feature of shape {feature.shape}, and the head reads ({self.hidden},)")
            both = np.concatenate([fused, np.broadcast_to(feature.astype(np.float32), fused.shape)], axis=1)
            share = 1.0 / (1.0 + np.exp(-np.clip(both @ self.gate.T, -60.0, 60.0)))
            fused = np.asarray(share * fused + (1.0 - share) * feature, dtype=np.float32)
        vectors: Floats = fused @ self.project.T
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(norms)) or np.any(norms < _LEAST_NORM):
            raise ValueError("the hidden states give no vector")
        return np.asarray(vectors / norms, dtype=np.float32)

    def dump(self) -> bytes:
        """The file, in numpy's npz format."""
        out = io.BytesIO()
        matrices = {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
        np.savez(out, **{name: matrix.astype(np.float32) for name, matrix in matrices.items()})
        return out.getvalue()

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """Read what `dump` wrote; `where` names it in errors.

        Raises:
            HeadError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found = {name: np.asarray(arrays[name]) for name in arrays.files}
        except _DAMAGED as error:
            raise HeadError(f"{where} is no head of an embedder: {error}") from None
        project = found.get("project")
        if project is None or project.ndim != 2 or 0 in project.shape:
            raise HeadError(f"{where} has no matrix `project`")
        hidden = project.shape[1]
        shapes = {"gate": (hidden, 2 * hidden), "mean": (2, hidden), "spread": (2, hidden)}
        for name, matrix in found.items():
            if matrix.shape != shapes.get(name, matrix.shape):
                raise HeadError(f"{where}: `{name}` has the shape {matrix.shape}, which does not fit {project.shape}")
            if matrix.dtype.kind != "f" or not np.all(np.isfinite(matrix)):
                raise HeadError(f"{where}: `{name}` has numbers that are not finite floats")
        if ("mean" in found) != ("spread" in found):
            raise HeadError(f"{where} has only one of `mean` and `spread`")
        if "spread" in found and np.any(found["spread"] <= 0):
            raise HeadError(f"{where}: `spread` has numbers that are not positive")
        return cls(**{name: found[name].astype(np.float32) for name in _NAMES if name in found})
