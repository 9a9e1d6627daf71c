"""The frame of a chat template: the same text as the template's own, and label tokens as they are emitted there."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from transformers import AutoTokenizer

from model_store.msr.finetune import FinetuneError, frame
from model_store.msr.finetune.base import Base
from model_store.msr.finetune.frame import chat_frame
from tests.tiny_bases import BASES

BaseOf = Callable[[str], Base]
TEXT = "Would the user enjoy it?"


@pytest.mark.parametrize("name", BASES)
def test_the_frame_around_a_text_is_the_chat_template_of_the_base(base: BaseOf, name: str) -> None:
    opened = base(name)
    tokenizer = opened.processor.tokenizer
    message = [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]
    theirs = tokenizer.apply_chat_template(
        message, chat_template=opened.processor.chat_template, add_generation_prompt=True, tokenize=False
    )
    # As vLLM tokenizes a chat message, and as it tokenizes the prompt of a score. After a `<s>` in the text, the
    # tokenizer of LLaVA-NeXT does not mark the beginning of a word, as it does after one of its own.
    chat = tokenizer(theirs, add_special_tokens=False)["input_ids"]
    score = tokenizer(opened.frame.opening + TEXT + opened.frame.closing)["input_ids"]
    if name == "llava-next":
        assert tokenizer.decode(score).replace("<s> ", "<s>") == tokenizer.decode(chat)
    else:
        assert score == chat


@pytest.mark.parametrize("name", BASES)
def test_the_score_template_renders_query_and_document_one_line_apart(base: BaseOf, name: str) -> None:
    found = base(name).frame
    messages = [{"role": "query", "content": "Q"}, {"role": "document", "content": "D\n"}]
    rendered = base(name).processor.tokenizer.apply_chat_template(
        messages, chat_template=found.score_template(), tokenize=False
    )
    assert rendered == f"{found.opening}Q\nD\n{found.closing}"


def test_a_label_after_a_space_is_the_token_with_the_space(base: BaseOf) -> None:
    assert base("llava-next").frame.labels.yes == "▁yes"
    assert base("qwen3-vl").frame.labels.yes == "yes"
    assert base("gemma3").frame.labels.no == "no"


@pytest.mark.parametrize("name", BASES)
def test_labels_are_the_tokens_that_follow_in_a_conversation(base: BaseOf, name: str) -> None:
    opened = base(name)
    tokenizer, closing = opened.processor.tokenizer, opened.frame.closing
    conversation = [
        {"role": "user", "content": [{"type": "text", "text": TEXT}]},
        {"role": "assistant", "content": [{"type": "text", "text": "no"}]},
    ]
    text = tokenizer.apply_chat_template(conversation, chat_template=opened.processor.chat_template, tokenize=False)
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    prompt = tokenizer(text[: text.index(closing) + len(closing)], add_special_tokens=False)["input_ids"]
    assert whole[: len(prompt)] == prompt
    assert whole[len(prompt)] == opened.frame.labels.no_id


def changed(base: Base, template: str) -> Any:
    other = deepcopy(base.processor)
    other.chat_template = template
    return other


def test_a_template_that_renders_a_message_twice_is_refused(base: BaseOf) -> None:
    twice = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"
    with pytest.raises(FinetuneError, match="renders a user message 2 times"):
        chat_frame(changed(base("qwen3-vl"), twice), "B")


def test_a_template_that_fails_is_refused(base: BaseOf) -> None:
    with pytest.raises(FinetuneError, match="the chat template of B fails"):
        chat_frame(changed(base("qwen3-vl"), "{{ raise_exception('no users') }}"), "B")


def test_labels_of_several_tokens_are_refused(base: BaseOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "NO", "no way")
    with pytest.raises(FinetuneError, match="the answer 'no way' is 4 tokens of"):
        chat_frame(base("qwen3-vl").processor, "B")


def test_a_prompt_whose_end_merges_with_the_label_is_refused(base: BaseOf) -> None:
    template = "{% for m in messages %}{{ m.content }}ye{% endfor %}"
    with pytest.raises(FinetuneError, match="merges with the end"):
        chat_frame(changed(base("llava-next"), template), "B")


def test_the_tokenizer_of_a_base_is_not_changed(base: BaseOf) -> None:
    opened = base("gemma3")
    fresh = AutoTokenizer.from_pretrained(opened.folder)
    assert len(fresh) == len(opened.processor.tokenizer)
