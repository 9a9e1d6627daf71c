"""The state of a training run on disk: a run that was interrupted goes on as if it had not been."""

import json
import pickle
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_store.errors import UserError

STATE = "state.pt"


class RunError(UserError):
    """A run can't be continued; the message says why and what to do."""


@dataclass(slots=True)
class RunState:
    """What has been done: optimizer steps, their seconds, and the best validation AUC (0..1; -1 before the first).

    `without_gain`: validations since the best one.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_step: int = 0
    validations: int = 0
    without_gain: int = 0


def save_run(
    folder: Path, identity: dict[str, Any], state: RunState, rng: random.Random, tensors: dict[str, Any]
) -> None:
    """Write the state, replacing an older one as a whole.

    Args:
        identity: what must be the same when the run goes on.
        tensors: state dicts by name.
    """
    version, internal, gauss = rng.getstate()
    progress = {name: getattr(state, name) for name in RunState.__slots__}
    plain = {"identity": identity, "progress": progress, "rng": [version, list(internal), gauss]}
    new = folder / f"{STATE}.new"
    torch.save({"plain": json.dumps(plain), "tensors": tensors}, new)
    new.replace(folder / STATE)


def load_run(folder: Path, identity: dict[str, Any], rng: random.Random) -> tuple[RunState, dict[str, Any]] | None:
    """Read the state and set `rng`; None if there is none.

    Raises:
        RunError: it is that of another run, or damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        plain = json.loads(saved["plain"])
        version, internal, gauss = plain["rng"]
        state, tensors = RunState(**plain["progress"]), saved["tensors"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
        # The text of PyTorch's errors advises to run any code that the file has.
        raise RunError(f"{path} is damaged: delete it to start again") from error
    if differing := [name for name in identity if plain["identity"].get(name) != identity[name]]:
        raise RunError(
            f"{folder} has a run with another {' and another '.join(differing)}; continue it with the same options, "
            "or name another folder (--run)"
        )
    rng.setstate((version, tuple(internal), gauss))
    return state, tensors
