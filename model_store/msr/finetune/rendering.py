"""The ranking prompt of a user and an item, as strings and pictures for a processor, and as tensors for the model.

The prompt is what vLLM makes of the service's `/score` request: the score template around the user's text, the family's
placeholder for the picture, and the item's text. Both tokenize it with special tokens.
"""

import io
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import pad

from model_store.msr.finetune.base import Base
from model_store.pictures import UNREADABLE, PictureSize, fit_picture
from model_store.prompts import BUILT_IN, TEMPLATES, PromptSet
from model_store.signals import Signals
from model_store.views import ItemView, UserView

IGNORED = -100
"""The label of every token that is not the answer."""
log = logging.getLogger(__name__)
_PER_TOKEN = ("token_type_ids", "mm_token_type_ids")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text up to the answer, and the encoded picture at the model's size, or None."""

    text: str
    picture: bytes | None = None


def write_prompts(folder: Path, base: Base, signals: Signals, recents: int) -> PromptSet:
    """Write the built-in prompts for general models to `folder`, with the base's own frame as the score template."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEMPLATES:
        shutil.copyfile(BUILT_IN / "default" / name, folder / name)
    (folder / "score.jinja").write_text(base.frame.score_template(), "utf-8")
    return PromptSet(folder, signals=signals, recents=recents)


class Renderer:
    """Renders prompts; `prompts` must have the base's score template."""

    def __init__(self, base: Base, prompts: PromptSet, size: PictureSize) -> None:
        self.prompts, self.size = prompts, size
        self._picture = base.family.picture
        self._tokenizer = base.processor.tokenizer
        self._template = prompts.score_template.read_text("utf-8")

    def __call__(self, user: UserView, item: ItemView) -> Prompt:
        picture = _fitted(item.image, self.size)
        document = ("" if picture is None else self._picture) + self.prompts.rank_item(item)
        messages = [
            {"role": "query", "content": self.prompts.rank_user(user)},
            {"role": "document", "content": document},
        ]
        text = self._tokenizer.apply_chat_template(messages, chat_template=self._template, tokenize=False)
        return Prompt(text, picture)


class Collator:
    """Makes tensors of prompts and their answers.

    The answer is appended as the pinned id: as a word of its own it could become another token. Rows are padded on the
    left, so that all answers are in the last column.
    """

    def __init__(self, processor: Any, yes_id: int, no_id: int) -> None:
        self._processor = processor
        self._ids = {"yes": yes_id, "no": no_id}

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Rows of the columns `prompt`, `images` (encoded) and `completion`, "yes" or "no".

        Returns:
            What the model takes, with `input_ids` and `labels` of shape (rows, longest prompt + 1).
        """
        images = [[_opened(picture) for picture in example["images"]] for example in examples]
        batch = self._processor(
            text=[example["prompt"] for example in examples],
            images=images if any(images) else None,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            add_special_tokens=True,
        )
        answers = torch.tensor([[self._ids[example["completion"]]] for example in examples])
        ids = batch["input_ids"]
        return {
            **{name: value for name, value in batch.items() if name not in _PER_TOKEN},
            **{name: pad(batch[name], (0, 1), value=0) for name in _PER_TOKEN if name in batch},
            "input_ids": torch.cat((ids, answers), 1),
            "attention_mask": pad(batch["attention_mask"], (0, 1), value=1),
            "labels": torch.cat((torch.full_like(ids, IGNORED), answers), 1),
        }


def example(prompt: Prompt, liked: bool = True) -> dict[str, Any]:
    """A row for `Collator`."""
    return {
        "prompt": prompt.text,
        "completion": "yes" if liked else "no",
        "images": [] if prompt.picture is None else [prompt.picture],
    }


def _fitted(encoded: bytes | None, size: PictureSize) -> bytes | None:
    """As the service does, leave out a picture that is unreadable."""
    if encoded is None:
        return None
    try:
        return fit_picture(encoded, size)
    except UNREADABLE as error:
        log.warning("a picture was left out of a prompt: %s", error)
        return None


def _opened(encoded: bytes) -> Image.Image:
    with Image.open(io.BytesIO(encoded)) as picture:
        return picture.convert("RGB")
