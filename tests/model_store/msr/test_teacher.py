from hypothesis import given
from hypothesis import strategies as st

from model_store.msr.teacher import RuleBasedTeacher, Summary, TermFinder, normalize, parse, render
from model_store.views import InteractionView, ItemView

TEACHER = RuleBasedTeacher()
NAMES = frozenset({"jazz", "1980s live", "opera", "punk", *(f"genre {number}" for number in range(12))})
FINDER = TermFinder(NAMES, frozenset({"harbor", "circle", "red"}))
terms = st.text(max_size=20).map(normalize).filter(lambda term: term not in ("", "nothing yet"))
term_lists = st.lists(terms, max_size=14, unique=True).map(tuple)
items = st.builds(ItemView, title=st.text(max_size=30), genres=st.lists(st.text(max_size=12), max_size=5).map(tuple))
events = st.builds(InteractionView, type=st.sampled_from(["like", "dislike", "view"]), item=st.one_of(st.none(), items))


def liked(*genres: str) -> InteractionView:
    return InteractionView("like", ItemView("", genres))


def disliked(*genres: str) -> InteractionView:
    return InteractionView("dislike", ItemView("", genres))


@given(term_lists, term_lists)
def test_what_is_rendered_is_read_back(likes: tuple[str, ...], avoids: tuple[str, ...]) -> None:
    assert parse(render(Summary(likes, avoids))) == Summary(likes, avoids)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    parse(text)


@given(st.text(max_size=200), st.lists(events, max_size=6))
def test_a_summary_is_bounded_and_never_empty(old: str, block: list[InteractionView]) -> None:
    new = TEACHER.fold(old, block, FINDER)
    said = parse(new)
    assert new
    assert render(said) == new
    assert len(said.likes) <= TEACHER.likes
    assert len(said.avoids) <= TEACHER.avoids
    assert not set(said.likes) & set(said.avoids)


@given(term_lists)
def test_a_block_that_says_nothing_changes_no_order(likes: tuple[str, ...]) -> None:
    old = render(Summary(likes[: TEACHER.likes]))
    assert TEACHER.fold(old, [InteractionView("view", ItemView("", ("opera",)))], FINDER) == old


def test_recent_beats_old() -> None:
    summary = ""
    for genre in ("opera", "opera", "opera", "jazz", "jazz", "jazz", "jazz"):
        summary = TEACHER.fold(summary, [liked(genre)], FINDER)
    assert parse(summary).likes == ("jazz", "opera")


def test_an_unconfirmed_like_falls_off_in_the_end() -> None:
    summary = TEACHER.fold("", [liked("opera")], FINDER)
    for number in range(40):
        summary = TEACHER.fold(summary, [liked(f"genre {number % 12}")], FINDER)
    assert "opera" not in parse(summary).likes


def test_a_dislike_drops_a_weak_like_and_is_remembered() -> None:
    said = parse(TEACHER.fold("Likes punk.", [disliked("punk"), disliked("punk")], FINDER))
    assert said == Summary((), ("punk",))


def test_a_like_takes_back_a_dislike() -> None:
    assert parse(TEACHER.fold("Likes nothing yet. Avoids punk.", [liked("punk")], FINDER)) == Summary(("punk",), ())


def test_terms_come_from_genres_tags_and_known_words() -> None:
    item = ItemView("The harbor of Balio", ("Jazz", "rare"), ("1980s, live",), summary="A red circle.")
    assert FINDER.of(item) == ("jazz", "1980s live", "harbor", "red", "circle")


def test_only_terms_with_support_count() -> None:
    items = [ItemView("The harbor", ("jazz",)), ItemView("A harbor"), ItemView("this harbor", ("jazz", "rare"))]
    finder = TermFinder.learn([*items, ItemView("lonely", tags=("jazz",))], minimum=3)
    assert finder == TermFinder(frozenset({"jazz"}), frozenset({"harbor"}))
