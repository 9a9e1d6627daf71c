"""The head of an embedder: late fusion and projection of what the language model's positions say (NoteLLM-2, 3.3).

    z = sigmoid(W_g [h; v]),  e = z * h + (1 - z) * v,  vector = W_o e / |W_o e|

h is a hidden state and v the picture's feature. An item without a picture has no v: e is h.
"""

import io
import zipfile
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from model_store.errors import UserError

Floats = npt.NDArray[np.float32]
MAX_BYTES = 256 * 2**20
_LEAST_NORM = 1e-12


class HeadError(UserError):
    """The file of a head is malformed; the message names it."""


@dataclass(frozen=True)
class Head:
    """
    Args:
        project: W_o, of shape (dimensions, hidden).
        gate: W_g, of shape (hidden, 2 * hidden); None for a model without late fusion.
    """

    project: Floats
    gate: Floats | None = None

    @property
    def dimensions(self) -> int:
        return int(self.project.shape[0])

    @property
    def hidden(self) -> int:
        return int(self.project.shape[1])

    def __call__(self, states: Floats, feature: Floats | None = None) -> Floats:
        """The unit vectors of hidden states.

        Args:
            states: of shape (n, hidden).
            feature: of the picture, of shape (hidden,); None without one.

        Returns:
            Shape (n, dimensions), float32.

        Raises:
            ValueError: shapes differ from those of the head, or a vector has no direction.
        """
        if states.ndim != 2 or states.shape[1] != self.hidden:
            raise ValueError(f"hidden states of shape {states.shape}, and the head reads (n, {self.hidden})")
        fused = states.astype(np.float32)
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
        matrices = {"project": self.project} | ({} if self.gate is None else {"gate": self.gate})
        np.savez(out, **{name: matrix.astype(np.float32) for name, matrix in matrices.items()})  # type: ignore[arg-type]
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
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise HeadError(f"{where} is no head of an embedder: {error}") from None
        project, gate = found.get("project"), found.get("gate")
        if project is None or project.ndim != 2 or 0 in project.shape:
            raise HeadError(f"{where} has no matrix `project`")
        if gate is not None and gate.shape != (project.shape[1], 2 * project.shape[1]):
            raise HeadError(f"{where}: `gate` has the shape {gate.shape}, which does not fit {project.shape}")
        for name, matrix in found.items():
            if matrix.dtype.kind != "f" or not np.all(np.isfinite(matrix)):
                raise HeadError(f"{where}: `{name}` has numbers that are not finite floats")
        return cls(project.astype(np.float32), None if gate is None else gate.astype(np.float32))
