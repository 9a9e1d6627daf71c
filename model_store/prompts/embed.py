"""The prompt of an embedder: one item, with the positions at which its hidden states are read.

| file               | sees           | renders                                                          |
| ------------------ | -------------- | ---------------------------------------------------------------- |
| `embed_picture.j2` | `read`         | what follows the picture; `read` is the token whose position is read |
| `embed_item.j2`    | `item`, `read` | the words of the item; ends with `read`                          |

With both, a position that has seen only the picture is read, and one that has seen all (mICL of NoteLLM-2, 3.2). An
`embed_picture.j2` without `read` gives only the second. All texts of the item are cleaned: none can hold `read`.
"""

from pathlib import Path

from model_store.prompts import BUILT_IN, TextLimits, item_texts
from model_store.prompts.sandbox import PromptEnvironment
from model_store.views import ItemView

PICTURE, ITEM = "embed_picture.j2", "embed_item.j2"
JOIN = "\n"
"""Between the parts of a message, as vLLM joins them."""


class EmbedPrompts:
    """The compiled templates of one folder.

    Args:
        folder: the folder of the two template files.
        read: the token whose positions are read, such as `<|read|>`.

    Raises:
        FileNotFoundError: a template is missing; the message names it.
    """

    limits = TextLimits(title=200, description=400)

    def __init__(self, folder: Path, read: str) -> None:
        self.folder, self.read = folder, read
        if missing := [name for name in (PICTURE, ITEM) if not (folder / name).is_file()]:
            raise FileNotFoundError(f"prompt set {folder} lacks {', '.join(missing)}")
        self._templates = PromptEnvironment(folder)

    @classmethod
    def built_in(cls, name: str, read: str) -> "EmbedPrompts":
        """`embed` reads both positions, `embed_early` only the last one."""
        return cls(BUILT_IN / name, read)

    def after_picture(self) -> str:
        """The text between the picture and the words."""
        return self._templates.render(PICTURE, read=self.read)

    def words(self, item: ItemView) -> str:
        """The text of the item's words."""
        return self._templates.render(ITEM, item=item_texts(item, self.limits), read=self.read)

    def text(self, item: ItemView, *, picture: bool) -> str:
        """All text of the prompt; with a `picture`, it follows its soft tokens."""
        between = self.after_picture() if picture else ""
        return JOIN.join(part for part in (between, self.words(item)) if part)

    def reads(self, text: str) -> int:
        """How many positions of this text are read."""
        return text.count(self.read)
