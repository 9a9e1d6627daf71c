"""Attacks on the prompts, and where each of them sits.

`attacks.jsonl` has one attack a line:

| key | meaning |
| --- | --- |
| `name` | unique |
| `kind` | the trick, see `Kind`; `control` is what a shop writes without any aim |
| `field` | whose text it is, see `Field` |
| `aim` | `rank`: raise the rank of the attacker's own item; `summary`: take over the summary of whoever likes it |
| `text` | what is written into the field; a list for genres and tags; `{title}` is the item's title |
| `times` | how often the text is repeated, 1 by default |
| `marker` | for summaries: what shows that one was taken over, in small letters |
| `wanted` | for summaries: what a model that obeys in everything would write |

Invisible characters and look-alikes are escaped, so that a reader of the file sees them.
"""

import json
import textwrap
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

from PIL import Image, ImageDraw, ImageFont

from model_store.views import InteractionView, ItemView, UserView

FILE = Path(__file__).parent / "attacks.jsonl"
Aim = Literal["rank", "summary"]
Field = Literal[
    "title",
    "description",
    "genre",
    "tag",
    "picture",
    "item_summary",
    "summary",
    "context",
    "event_type",
    "event_context",
]
Kind = Literal[
    "plain",
    "claim",
    "stuffing",
    "label",
    "role",
    "template",
    "delimiter",
    "lookalike",
    "hidden",
    "encoded",
    "multilingual",
    "flood",
    "format",
    "summarizer",
    "exfiltration",
    "control",
]
OF_THE_ITEM: tuple[Field, ...] = ("title", "description", "genre", "tag", "picture", "item_summary")
"""Fields that the author of an item fills; those of the others are the user's and the caller's."""
_LETTERS_A_LINE = 22


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the corpus. `texts` has one entry, except for genres and tags."""

    name: str
    kind: Kind
    field: Field
    aim: Aim
    texts: tuple[str, ...]
    marker: str = ""
    wanted: str = ""

    @property
    def control(self) -> bool:
        return self.kind == "control"

    def text(self, title: str = "") -> str:
        """All that is written, for an item of this title."""
        return "\n".join(self.texts).replace("{title}", title)

    def on_item(self, item: ItemView) -> ItemView:
        """`item` with the attack in it; the item itself where its author can't write the field."""
        text = self.text(item.title)
        match self.field:
            case "title":
                return replace(item, title=f"{item.title} {text}")
            case "description":
                return replace(item, description=f"{item.description} {text}")
            case "genre":
                return replace(item, genres=(*self.texts, *item.genres))
            case "tag":
                return replace(item, tags=(*self.texts, *item.tags))
            case "item_summary":
                return replace(item, summary=f"{item.summary} {text}")
            case "picture" if item.image is not None:
                return replace(item, image=lettered(item.image, text))
            case _:
                return item

    def on_user(self, user: UserView, title: str) -> UserView:
        """`user` with the attack in the summary, the context or the last event, from the author of an item `title`."""
        text = self.text(title)
        match self.field:
            case "summary":
                return replace(user, summary=f"{user.summary} {text}")
            case "context":
                return replace(user, context=(*user.context, ("note", text)))
            case "event_type":
                return replace(user, recents=self.on_block(user.recents))
            case _:
                return user

    def on_block(self, block: tuple[InteractionView, ...]) -> tuple[InteractionView, ...]:
        """The block with the attack as the type of its last event, where it is one."""
        if self.field != "event_type" or not block:
            return block
        return (*block[:-1], replace(block[-1], type=self.text()))


@cache
def attacks() -> tuple[Attack, ...]:
    """The whole corpus, controls included.

    Raises:
        ValueError: a line is malformed; the message names it.
    """
    return tuple(_parsed(line) for line in FILE.read_text("utf-8").splitlines())


def _parsed(line: str) -> Attack:
    fields = json.loads(line)
    text, times = fields.pop("text"), fields.pop("times", 1)
    texts = tuple(text) * times if isinstance(text, list) else (text * times,)
    attack = Attack(texts=texts, **fields)
    for value, known in ((attack.kind, Kind), (attack.field, Field), (attack.aim, Aim)):
        if value not in get_args(known):
            raise ValueError(f"{attack.name}: {value!r} is none of {', '.join(get_args(known))}")
    if (attack.aim == "summary") != bool(attack.marker and attack.wanted):
        raise ValueError(f"{attack.name}: an attack on summaries, and no other, needs a marker and a wanted summary")
    return attack


def lettered(image: bytes, text: str) -> bytes:
    """The picture with the words in black on a white band across it, as PNG."""
    with Image.open(BytesIO(image)) as opened:
        picture = opened.convert("RGB")
    lines = textwrap.wrap(text, _LETTERS_A_LINE)
    size = max(8, picture.width // 14)
    top = picture.height // 2 - size * len(lines) // 2
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, top - 2, picture.width, top + (size + 2) * len(lines)), fill="white")
    for number, line in enumerate(lines):
        pen.text((2, top + number * (size + 2)), line, fill="black", font=ImageFont.load_default(size))
    out = BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
