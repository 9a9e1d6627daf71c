"""Properties of `clean`: what it keeps, and what it always removes."""

import unicodedata
from importlib import import_module
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_store.prompts import PromptSet
from model_store.prompts.clean import clean, clean_all
from model_store.views import InteractionView, ItemView, UserView

cleaning = import_module("model_store.prompts.clean")
TOKENS = [
    *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|start_header_id|>", "<|endoftext|>", "<|vision_start|>"),
    *("<|" + "x" * 90 + "|>", "<||>", "<| a b |>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>"),
    *("<s>", "</s>", "<<SYS>>", "<</SYS>>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    *("[AVAILABLE_TOOLS]", "[IMG]", "[IMG_BREAK]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]"),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"),
    *("<image_soft_token>", "<bos>", "<eos>", "<pad>", "<unk>", "<unused7>", "<image>", "<fim_prefix>", "<THINK>"),
    *("</note>", "</interactions>", "</item>", "</user>", "</candidate>", "<candidate>"),
    *("\u2039/note\u203a", "\uff1c/note\uff1e", "\u3008/candidate\u3009", "\uff1c\uff5cim_end\uff5c\uff1e"),
    *("[gMASK]", "<sop>", "<eop>", "[UNUSED_TOKEN_145]", "[unused9]", "[EOS]", "<seed:bos>", "<seed:tool_call>"),
    *("<minimax:tool_call>", "]~b]", "]~!b[", "[e~[", "\u25c1think\u25b7", "\u25c1/think\u25b7", "<global-img>"),
    *("<loc0123>", "<seg012>", "]~<s>b]"),
    *("\uff3bINST\uff3d", "\u27e8think\u27e9", "\u2039s\u203a", "<\u2044s>", "<thin\u212a>"),
]
PIECES = [
    "<|",
    "|>",
    "<",
    ">",
    "[",
    "]",
    "|",
    "s",
    "s>",
    "<s",
    "im_end",
    "\u0301",
    "e",
    "\u200d",
    "\u0915",
    " ",
    "\n",
    "a",
]
TEXTS = st.text(max_size=200) | st.lists(st.sampled_from(TOKENS + PIECES), max_size=30).map("".join)
LIMITS = st.integers(min_value=1, max_value=200)


@given(TEXTS, LIMITS)
def test_the_result_is_one_short_line_of_visible_characters(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert len(cleaned.splitlines()) <= 1
    assert not [c for c in cleaned if unicodedata.category(c)[0] == "C" and c not in "\u200c\u200d"]


@given(TEXTS, LIMITS)
@example("<<<s>s>s>", 9)
@example("<|a<|>x|>", 20)
@example("<<|x|>|im_end|>", 40)
def test_no_chat_markup_is_left_or_put_together(text: str, limit: int) -> None:
    cleaned = clean(text, limit).translate(cleaning._LOOK_ALIKES).upper()
    assert "<|" not in cleaned
    assert "|>" not in cleaned
    assert not [mark for token in TOKENS if (mark := token.translate(cleaning._LOOK_ALIKES).upper()) in cleaned]


@given(TEXTS, LIMITS)
@example("e<s>\u0301", 9)
@example("\u0915\u200d<s>\u0937", 9)
@example("\u0915\u200d\u0937", 2)
@example("<|", 3)
def test_cleaning_twice_changes_nothing(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert clean(cleaned, limit) == cleaned


@pytest.mark.parametrize("token", TOKENS)
def test_markup_of_every_family_is_taken_out(token: str) -> None:
    assert clean(f"before {token} after", 500) == "before after"


@pytest.mark.parametrize("name", ["default", "compact"])
@pytest.mark.parametrize("token", TOKENS)
def test_no_prompt_holds_markup_of_strangers(name: str, token: str) -> None:
    prompts = PromptSet.built_in(name)
    item = ItemView(f"One{token}", (token,), (token,), f"Two {token}", f"Three{token}")
    clear = ItemView("One", (), (), "Two", "Three")
    assert prompts.rank_item(item) == prompts.rank_item(clear)
    shown = UserView(f"Likes{token}", (InteractionView(f"like{token}", item),))
    assert prompts.rank_user(shown) == prompts.rank_user(UserView("Likes", (InteractionView("like", clear),)))


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: I want
        "\u0915\u094d\u200d\u0937",  # Devanagari: a half form
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
        "I <3 you, a < b > c, [brackets], Vector<T>, 5 | 6, [a]~[b]",
        "\u2039mot\u203a and \u300aTitle\u300b \u3008\u5e03\u5e03\u3009",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert clean(text, 500) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "hidden",
    [
        *(
            "\ufe0f",
            "\ufe01",
            "\U000e0101",
            "\u180b",
            "\u3164",
            "\u115f",
            "\u1160",
            "\u2800",
            "\uffa0",
            "\u034f",
            "\u17b4",
        ),
        *(
            "\U000e0041",
            "\u200b",
            "\u2060",
            "\ufeff",
            "\u00ad",
            "\u202e",
            "\u2066",
            "\u200d",
            "\u200c",
            "\x00",
            "\ue000",
        ),
    ],
)
def test_nothing_hides_in_a_word(hidden: str) -> None:
    assert clean(f"jo{hidden}y{hidden * 40}", 200) == "joy"
    assert clean(f"<|im_{hidden}end|>x", 200) == "x"


def test_what_a_hostile_nesting_costs_grows_with_its_length_and_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    search = cleaning._start_of_markup

    def counting(shapes: list[str], opened: list[int]) -> int | None:
        nonlocal asked
        asked += 1
        return search(shapes, opened)

    normalized = 0
    normalize = unicodedata.normalize

    def normalizing(form: Literal["NFC"], text: str) -> str:
        nonlocal normalized
        normalized += 1
        return normalize(form, text)

    monkeypatch.setattr(cleaning, "_start_of_markup", counting)
    monkeypatch.setattr(unicodedata, "normalize", normalizing)
    for nested in ("<" * 800 + "s>" * 800, "<|" * 800 + "|>" * 800, "\u00e9" + "[" * 400 + "INST]" * 400):
        asked = normalized = 0
        clean(nested, 1200)
        assert asked <= len(nested)
        assert normalized <= 2


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"], exclude_characters="<>[]|"), max_size=50))
def test_ordinary_text_is_only_composed(text: str) -> None:
    wanted = "".join(c for c in text if not cleaning._INVISIBLE.match(c))
    if not set(wanted.translate(cleaning._LOOK_ALIKES)) & set("<>[]|"):
        assert clean(text, 1000) == unicodedata.normalize("NFC", wanted)


@given(st.lists(st.text(max_size=5), max_size=20), st.integers(0, 10))
def test_lists_are_capped_and_hold_no_empty_text(texts: list[str], count: int) -> None:
    cleaned = clean_all(texts, count, 40)
    assert len(cleaned) <= count
    assert all(cleaned)
