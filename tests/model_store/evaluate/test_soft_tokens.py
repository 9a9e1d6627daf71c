import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from model_store.evaluate.soft_tokens import SoftTokens
from model_store.msr.parts.efficientnet import EfficientNetLite, Stage, VisionSizes
from model_store.msr.parts.encoder import FrozenVision, PictureEncoder, Projector, ProjectorSizes
from model_store.registry.manifest import PictureTokens
from model_store.soft_tokens import check_soft_tokens

SIZES = VisionSizes(stem=8, stages=(Stage(1, 8, 1, 1, 3), Stage(4, 12, 2, 2, 5)), features=24, picture=32)


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[PictureEncoder, Path]:
    folder = tmp_path_factory.mktemp("encoder")
    found = PictureEncoder(
        FrozenVision(EfficientNetLite(SIZES)), Projector(SIZES.features, ProjectorSizes(1, 2, 8), 0.1)
    )
    found.save(folder)
    return found, folder


async def test_each_picture_has_the_tokens_of_the_encoder_in_the_form_of_the_service(
    encoder: tuple[PictureEncoder, Path],
) -> None:
    pictures = {"a": picture("red"), "b": picture("blue")}
    found = await SoftTokens(encoder[1]).of(pictures)
    for item_id, content in pictures.items():
        check_soft_tokens(found[item_id], PictureTokens(count=2, width=8))
        expected = encoder[0].encode([content])[0]
        assert torch.allclose(torch.load(io.BytesIO(found[item_id]), weights_only=True), expected, atol=1e-6)


async def test_what_is_no_picture_has_no_tokens_and_spoils_no_other(encoder: tuple[PictureEncoder, Path]) -> None:
    found = await SoftTokens(encoder[1]).of({"a": b"no picture", "b": picture("blue")})
    assert list(found) == ["b"]


async def test_a_picture_is_encoded_once(encoder: tuple[PictureEncoder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    encode = PictureEncoder.encode
    monkeypatch.setattr(PictureEncoder, "encode", lambda self, some: (counted.append(len(some)), encode(self, some))[1])
    tokens = SoftTokens(encoder[1])
    await tokens.of({"a": picture("red")})
    assert set(await tokens.of({"a": picture("red"), "b": picture("blue")})) == {"a", "b"}
    assert counted == [1, 1]
