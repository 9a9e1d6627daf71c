"""The picture encoder of an embedder version: the folder `encoder` beside its weights."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save_file

from model_store.msr.parts.efficientnet import PartError
from model_store.msr.parts.encoder import CONFIG, WEIGHTS, fill_module, read_part
from model_store.notellm2.connector import Connector, ConnectorSizes
from model_store.notellm2.vision import Vision, open_saved

KIND = "notellm2"
_VISION, _CONNECTOR = "vision.", "connector."


class FeatureEncoder:
    """A frozen vision encoder and a trained connector."""

    def __init__(self, vision: Vision, connector: Connector) -> None:
        self.vision, self.connector = vision, connector.eval()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """
        Raises:
            PartError: the folder is none of an embedder.
        """
        config, state = read_part(folder)
        try:
            given = config["connector"]
            sizes = ConnectorSizes(**given["sizes"])
            connector = Connector(given["cells"], given["width"], given["feature"], sizes, 1.0)
            saved = config["encoder"]
        except (KeyError, TypeError, ValueError) as error:
            raise PartError(f"{folder / CONFIG} does not describe the encoder of an embedder: {error}") from None
        vision, own = (
            {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
            for part in (_VISION, _CONNECTOR)
        )
        fill_module(connector, own, folder)
        return cls(open_saved(saved, vision, folder), connector)

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads, in float32."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {f"{_VISION}{name}": value for name, value in self.vision.state().items()}
        state |= {f"{_CONNECTOR}{name}": value for name, value in self.connector.state_dict().items()}
        plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        save_file(
            {name: value.float() if value.is_floating_point() else value for name, value in plain.items()},
            folder / WEIGHTS,
        )
        connector = self.connector
        sizes = {
            "cells": connector.places.shape[0],
            "width": connector.enter.in_features,
            "feature": connector.project_feature.in_features,
            "sizes": asdict(connector.sizes),
        }
        config = {"kind": KIND, "encoder": self.vision.config(), "connector": sizes}
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")

    def encode(self, pictures: Sequence[bytes]) -> tuple[torch.Tensor, torch.Tensor]:
        """The soft tokens of encoded pictures, (n, count, width), and their features, (n, width), float32.

        Raises:
            PIL.UnidentifiedImageError: bytes are not a picture.
        """
        with torch.inference_mode():
            tokens, features = self.connector(self.vision.encode(pictures))
            return tokens, features
