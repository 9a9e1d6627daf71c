"""The frame that a base's chat template puts around a prompt, and the label tokens that follow it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from model_store.msr.finetune import FinetuneError
from model_store.registry.manifest import Labels

_PROMPT, _ANSWER = "PROMPTMARK", "ANSWERMARK"
YES, NO = "yes", "no"
Message = dict[str, Any]
Render = Callable[[Sequence[Message], bool], str]


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """What stands before and after the text of the only user message; `closing` asks for the answer.

    `opening` lacks a `<bos>` that the tokenizer adds by itself, as vLLM's `/score` tokenizes with special tokens.
    """

    opening: str
    closing: str
    labels: Labels

    def score_template(self) -> str:
        """The chat template for `/score`: the two messages `query` and `document` in this frame, one line apart."""
        query, document = '{{ messages[0]["content"] }}', '{{ messages[-1]["content"] }}'
        return _literal(self.opening) + query + _literal("\n") + document + _literal(self.closing)


def chat_frame(processor: Any, base: str) -> ChatFrame:
    """Read the frame off the base's chat template.

    Raises:
        FinetuneError: the template does not render one user message once, or a label is not a single token.
    """
    render = _renderer(processor, base)
    prompt = render([_user(render, _PROMPT)], True)
    if prompt.count(_PROMPT) != 1:
        raise FinetuneError(
            f"the chat template of {base} renders a user message {prompt.count(_PROMPT)} times, not once: "
            "repair its chat_template.jinja, or take another base (--base)"
        )
    opening, closing = prompt.split(_PROMPT)
    tokenizer = processor.tokenizer
    space = _space_before_answer(render, prompt)
    yes, no = (_label(tokenizer, prompt, space, word, base) for word in (YES, NO))
    if yes == no:
        raise FinetuneError(f"{base} has the same token for {YES} and {NO}; take another base (--base)")
    words = tokenizer.convert_ids_to_tokens([yes, no])
    return ChatFrame(
        _without_double_bos(tokenizer, opening), closing, Labels(yes=words[0], no=words[1], yes_id=yes, no_id=no)
    )


def _renderer(processor: Any, base: str) -> Render:
    def render(messages: Sequence[Message], generate: bool) -> str:
        try:
            text: str = processor.tokenizer.apply_chat_template(
                list(messages),
                chat_template=processor.chat_template,
                tokenize=False,
                add_generation_prompt=generate,
                enable_thinking=False,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise FinetuneError(f"the chat template of {base} fails: {error}") from None
        return text

    return render


def _user(render: Render, text: str) -> Message:
    """A user message, in parts if the template reads those."""
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    try:
        in_parts = render([message], True).count(text) == 1 and "'type'" not in render([message], True)
    except FinetuneError:
        in_parts = False
    return message if in_parts else {"role": "user", "content": text}


def _space_before_answer(render: Render, prompt: str) -> str:
    """What the template puts between the request for an answer and the answer, if that is white space."""
    user = _user(render, _PROMPT)
    content = _ANSWER if isinstance(user["content"], str) else [{"type": "text", "text": _ANSWER}]
    before = render([user, {"role": "assistant", "content": content}], False).split(_ANSWER)[0]
    between = before.removeprefix(prompt)
    return between if between != before and not between.strip() else ""


def _label(tokenizer: Any, prompt: str, space: str, word: str, base: str) -> int:
    """The id of `word` as it is emitted at this position: after a space it is another token than at the start."""
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    whole = tokenizer(prompt + space + word, add_special_tokens=False)["input_ids"]
    ids = whole[len(before) :]
    if whole[: len(before)] != before:
        raise FinetuneError(f"the answer {word!r} merges with the end of {base}'s prompt; take another base (--base)")
    if len(ids) != 1:
        raise FinetuneError(
            f"the answer {word!r} is {len(ids)} tokens of {base}, and a score is read off one; "
            "take a base whose tokenizer has yes and no as single tokens (--base)"
        )
    token = tokenizer.convert_ids_to_tokens(ids[0])
    if ids[0] == tokenizer.unk_token_id or tokenizer.convert_tokens_to_ids(token) != ids[0]:
        raise FinetuneError(f"the tokenizer of {base} does not know the answer {word!r}; take another base (--base)")
    return int(ids[0])


def _without_double_bos(tokenizer: Any, opening: str) -> str:
    bos = tokenizer.bos_token
    if bos and opening.startswith(bos) and tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id:
        return opening.removeprefix(bos)
    return opening


def _literal(text: str) -> str:
    """`text` as an expression of a template, which keeps its white space."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""
