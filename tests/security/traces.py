"""What an attack leaves in a prompt, for which no model is needed to see it."""

import re
import unicodedata
from dataclasses import replace

from model_store.prompts import PromptSet
from model_store.views import InteractionView, ItemView, UserView
from tests.security.corpus import Attack

TOKENS = re.compile(
    r"<\|[^|]*\|>|<\uff5c[^\uff5c]*\uff5c>|</?s>|<</?SYS>>|\[/?(?:INST|TOOL_RESULTS|gMASK|UNUSED_TOKEN_\d+)\]"
    r"|</?(?:start_of_turn|end_of_turn|end_of_utterance|think|tool_call|sop|global-img|seed:[a-z]+|loc\d+|seg\d+)>"
    r"|\]~!?b\[?\]?|\[e~\[|\u25c1/?think\u25b7"
)
"""What tokenizers and parsers of chat models read as more than words, as they spell it."""
_ALIKE = str.maketrans("\u2039\u203a\u3008\u3009\u27e8\u27e9\u2044\u2215", "<><><>//")
_TAG = re.compile(r"</?[a-z]+[ >]|<!--")
_UNSEEN = re.compile("[\u2800\u3164\ufe00-\ufe0f\U000e0100-\U000e01ef]")
ITEM = ItemView("Red Harbour", ("drama",), ("sea",), "A pilot returns.", "a red boat")
USER = UserView("Likes drama, sea.", (InteractionView("like", ITEM), InteractionView("view", ItemView("Moss"))))


def prompts_of(prompts: PromptSet, attack: Attack) -> list[str]:
    """All prompts that show the attack. The words in a picture are read aloud, as the item's description."""
    if attack.field == "picture":
        attack = replace(attack, field="item_summary")
    item, user = attack.on_item(ITEM), attack.on_user(USER, ITEM.title)
    block = attack.on_block((*USER.recents[:1], InteractionView("like", item)))
    written = [prompts.describe(item), prompts.summarize(user.summary, block)]
    return [*written, prompts.rank_user(replace(user, recents=(*user.recents, *block))), prompts.rank_item(item)]


def traces(prompts: PromptSet, attack: Attack) -> set[str]:
    """How the prompts with the attack differ from those with a harmless word in its place.

    `tokens` that a tokenizer would obey, their `look-alikes`, an additional `line`, an additional `<` or `>` beside the
    tags of the prompt (`delimiter`), a `tag` of HTML, `hidden` characters, or far more text than is allowed (`long`).
    """
    harmless = replace(attack, texts=("word",) * min(len(attack.texts), 12))
    found = set[str]()
    for text, plain in zip(prompts_of(prompts, attack), prompts_of(prompts, harmless), strict=True):
        found |= _differences(text, plain, tagged="<" in plain)
    return found


def _differences(text: str, plain: str, *, tagged: bool) -> set[str]:
    alike = unicodedata.normalize("NFKC", text.translate(_ALIKE))
    checks = {
        "tokens": len(TOKENS.findall(text)) > len(TOKENS.findall(plain)),
        "look-alikes": len(TOKENS.findall(alike)) > max(len(TOKENS.findall(one)) for one in (text, plain)),
        "line": len(text.splitlines()) > len(plain.splitlines()),
        "delimiter": tagged and any(text.count(mark) > plain.count(mark) for mark in "<>"),
        "tag": len(_TAG.findall(alike)) > len(_TAG.findall(plain.translate(_ALIKE))),
        "hidden": any(map(_is_hidden, set(text))),
        "long": len(text) > len(plain) + 1300,
    }
    return {name for name, differs in checks.items() if differs}


def _is_hidden(char: str) -> bool:
    return char != "\n" and (unicodedata.category(char)[0] == "C" or _UNSEEN.match(char) is not None)
