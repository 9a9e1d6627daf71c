"""Frozen vision encoders: what they see does not depend on when they are asked, and survives a version's folder."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModel, ViTConfig, ViTModel

from model_store.data.dataset import DatasetError
from model_store.msr.parts.efficientnet import PartError
from model_store.notellm2.connector import Connector, ConnectorSizes
from model_store.notellm2.encoder import FeatureEncoder
from model_store.notellm2.features import look_at_all
from model_store.notellm2.vision import BUILTIN, open_vision
from model_store.progress import quiet

SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip


def picture(colour: str = "red", size: tuple[int, int] = (90, 40)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture(params=["builtin", "clip", "vit"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of an encoder."""
    if request.param == "builtin":
        return BUILTIN
    torch.manual_seed(0)
    folder = tmp_path / "encoder"
    model = CLIPVisionModel(CLIPVisionConfig(**SIZES)) if request.param == "clip" else ViTModel(ViTConfig(**SIZES))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}')
    return str(folder)


def test_a_picture_looks_the_same_alone_and_among_others(where: str) -> None:
    vision = open_vision(where)
    pictures = [picture(), picture("blue"), picture("green")]
    together = vision.encode(pictures)
    alone = vision.encode(pictures[1:2])
    torch.testing.assert_close(alone.cells[0], together.cells[1])
    torch.testing.assert_close(alone.feature[0], together.feature[1])
    assert not torch.allclose(together.feature[0], together.feature[1])


def test_the_encoder_of_a_version_makes_the_same_tokens_after_its_folder_was_read(where: str, tmp_path: Path) -> None:
    vision = open_vision(where)
    seen = vision.encode([picture(), picture("blue")])
    torch.manual_seed(1)
    connector = Connector(
        seen.cells.shape[1], seen.cells.shape[2], seen.feature.shape[1], ConnectorSizes(3, 8, 1, 2, 12), 0.1
    )
    connector.standardize(seen)
    encoder = FeatureEncoder(vision, connector)
    encoder.save(tmp_path / "saved")
    loaded = FeatureEncoder.load(tmp_path / "saved")
    before, after = encoder.encode([picture("teal")]), loaded.encode([picture("teal")])
    assert before[0].shape == (1, 3, 12)
    assert before[1].shape == (1, 12)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)
    assert loaded.vision.key == vision.key


def test_other_weights_and_other_normalization_are_other_encoders(tmp_path: Path) -> None:
    keys = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        CLIPVisionModel(CLIPVisionConfig(**SIZES)).save_pretrained(tmp_path / str(seed))
        keys.add(open_vision(str(tmp_path / str(seed))).key)
    (tmp_path / "1" / "preprocessor_config.json").write_text('{"image_mean": [0, 0, 0]}')
    keys.add(open_vision(str(tmp_path / "1")).key)
    assert len(keys) == 3


@pytest.mark.parametrize("whole", [False, True], ids=["vision alone", "both towers"])
def test_the_feature_of_clip_is_its_class_token_before_the_post_layer_norm(whole: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**SIZES)
    text = CLIPTextConfig(vocab_size=40, **{name: SIZES[name] for name in list(SIZES)[:4]})
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision)) if whole else CLIPVisionModel(vision)
    model.save_pretrained(tmp_path)
    opened = open_vision(str(tmp_path))
    states: list[torch.Tensor] = []
    opened._model.post_layernorm.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    seen = opened.encode([picture()])
    assert seen.cells.shape == (1, 16, 16)
    torch.testing.assert_close(seen.feature, states[0])


def test_the_built_in_encoder_tells_colours_and_edges_apart() -> None:
    striped = Image.new("RGB", (64, 64), "white")
    striped.paste("black", (0, 0, 32, 64))
    out = io.BytesIO()
    striped.save(out, format="PNG")
    vision = open_vision(BUILTIN)
    seen = vision.encode([picture("red"), picture("green"), out.getvalue()])
    assert seen.cells.shape == (3, 64, 16)
    assert torch.all(seen.feature.isfinite())
    assert float((seen.feature[0] - seen.feature[1]).abs().max()) > 0.1
    # Only the edge has spread over the cells.
    assert float(seen.feature[2, 16:32].max()) > 10 * float(seen.feature[0, 16:32].max())


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model_type": "no such model"}', '{"kind": "other"}'])
def test_a_folder_without_an_encoder_is_refused_by_name(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(PartError, match=tmp_path.name):
        open_vision(str(tmp_path))


def test_a_picture_that_can_not_be_decoded_is_named(tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for image, content in zip(images, (picture(), b"text", picture()[:60]), strict=True):
        image.write_bytes(content)
    with pytest.raises(DatasetError, match=r"b\.png is damaged, or no picture"):
        look_at_all(open_vision(BUILTIN), images, tmp_path / "run", quiet)
    with pytest.raises(DatasetError, match=r"c\.png is damaged, or no picture"):
        look_at_all(open_vision(BUILTIN), images[::2], tmp_path / "run", quiet)
    assert len(look_at_all(open_vision(BUILTIN), images[:1], tmp_path / "run", quiet).cells) == 1
