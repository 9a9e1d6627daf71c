"""The token ids of an embedder's prompts, exactly as vLLM makes them from the same message."""

from typing import Any, NamedTuple

from model_store.errors import UserError
from model_store.prompts.embed import JOIN, EmbedPrompts
from model_store.views import ItemView

READ = "<|read|>"
SOFT = -1
"""The placeholder id of a soft token; no token has it."""
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A message is its content: an embedder needs no marks of turns."""
_QUOTE = '"'


class EncodedItem(NamedTuple):
    """Token ids of shape (length,), and the positions that are read: `picture` is -1 if only the last one is."""

    ids: list[int]
    picture: int
    last: int


class ItemTokens:
    """Tokenizes items.

    Args:
        tokenizer: with the special token `READ`, see `add_read_token`.
        count: soft tokens of a picture.

    Raises:
        UserError: the tokenizer has no such token.
    """

    def __init__(self, tokenizer: Any, prompts: EmbedPrompts, count: int) -> None:
        self.tokenizer, self.prompts, self.count = tokenizer, prompts, count
        ids = tokenizer.encode(READ, add_special_tokens=False)
        if len(ids) != 1:
            raise UserError(f"the tokenizer of the language model has no special token {READ}")
        self.read_id = int(ids[0])

    def __call__(self, item: ItemView, *, picture: bool) -> EncodedItem:
        """An item with or without its picture."""
        text = self.prompts.text(item, picture=picture)
        # A soft token splits the text like a special token does.
        words: list[int] = self.tokenizer.encode((JOIN if picture else "") + text, add_special_tokens=False)
        ids = [*([SOFT] * self.count if picture else []), *words]
        read = [place for place, token in enumerate(ids) if token == self.read_id]
        return EncodedItem(ids, read[0] if len(read) > 1 else -1, read[-1])


def add_read_token(tokenizer: Any, model: Any) -> None:
    """Give a pretrained model the token `READ`; it begins as an opening quote, which the paper reads at."""
    quote = tokenizer.encode(_QUOTE, add_special_tokens=False)[0]
    tokenizer.add_special_tokens({"additional_special_tokens": [READ]}, replace_extra_special_tokens=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = model.get_input_embeddings().weight.data
    rows[tokenizer.convert_tokens_to_ids(READ)] = rows[quote]
