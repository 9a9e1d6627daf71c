"""Guarantees of the collector: the order of the stages, places, filters, seen items and bounds."""

from collections.abc import Collection
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st

from service.recommend.filters import ItemFilter, LeftOut
from service.recommend.retrieval.collector import LOOKED_AT_ONCE, Collector
from service.recommend.retrieval.stages import Named, Stage
from service.recommend.schemas import Filters, SourceName
from service.state.reads import Wave
from service.state.records import Item

WAVE: Any = None
RARE = ItemFilter(Filters(genres=["rare"]))


class Pages(Stage):
    """Names the ids of `pages`, a page with every read."""

    def __init__(self, *pages: list[str], quota: float = 0.0, most: int | None = None) -> None:
        super().__init__(quota, most)
        self._pages = list(pages)
        self.asked = 0
        self.done = not pages

    def ask(self, wave: Wave) -> None:
        self.asked += 1

    def take(self) -> None:
        self.ids.extend(self._pages.pop(0))
        self.done = not self._pages


class First(Pages):
    name: ClassVar[SourceName] = "cooccurrence"


class Second(Pages):
    name: ClassVar[SourceName] = "popular"


class Last(Pages):
    name: ClassVar[SourceName] = "catalogue"
    last_resort: ClassVar[bool] = True


def collected(
    *stages: Stage,
    count: int = 4,
    enough: int = 2,
    seen: Collection[str] = (),
    excluded: Collection[str] = (),
    wanted: ItemFilter | None = None,
    most: int = 1000,
    unknown: Collection[str] = (),
) -> Collector:
    """A finished collector. Items whose ids begin with r pass the filter `RARE`."""
    collector = Collector(stages, count, enough, LeftOut(seen, excluded), wanted, most)
    while True:
        look, stage = collector.look(), collector.next_stage()
        if not look and stage is None:
            return collector
        if stage is not None:
            stage.ask(WAVE)
        items = {one: Item(one, "title", genres=("rare",) if one[0] == "r" else ()) for one in look}
        collector.take({one: item for one, item in items.items() if one not in unknown})
        if stage is not None:
            stage.take()


def named(ids: list[str], quota: float) -> Stage:
    return Named("embedding", ids, quota)


def sources(collector: Collector) -> dict[str, str]:
    return {item_id: candidate.source for item_id, candidate in collector.found.items()}


def test_stages_are_used_in_their_order_and_the_first_to_name_an_item_is_its_source() -> None:
    collector = collected(First(["a"], ["b"]), Second(["b", "c", "d", "e"]))
    assert sources(collector) == {"a": "cooccurrence", "b": "cooccurrence", "c": "popular", "d": "popular"}


def test_ids_that_a_later_stage_has_named_wait_for_the_earlier_stages() -> None:
    """The popularity ranking is read in the first round trip, before the user is known."""
    early = Second(["c", "d", "e"])
    early.take()
    assert list(collected(First(["a"], ["b"]), early, count=3, enough=3).found) == ["a", "b", "c"]


def test_seen_and_unknown_ids_do_not_displace_candidates() -> None:
    collector = collected(First(["a", "b", "c", "d", "e", "f"]), seen={"a", "b"}, unknown={"c"})
    assert (list(collector.found), collector.rejected) == (["d", "e", "f"], {"seen": 2})


def test_excluded_ids_are_passed_over_and_counted() -> None:
    collector = collected(First(["a", "b", "c"]), Second(["d", "e"]), excluded={"b", "d"}, seen={"d"})
    assert (list(collector.found), collector.rejected) == (["a", "c", "e"], {"excluded": 2})


def test_a_stage_has_no_more_than_its_most() -> None:
    assert list(collected(First(["a", "b", "c"], most=2), Second(["c", "d"])).found) == ["a", "b", "c", "d"]
    assert list(collected(First(["a", "b", "c"], most=0), Second(["d"])).found) == ["d"]
    assert list(collected(First(["a", "b", "c"], most=1), seen={"a"}).found) == ["b"]


def test_a_stage_is_asked_when_what_an_earlier_one_may_still_give_is_not_enough() -> None:
    second = Second(["x", "y", "z"])
    assert list(collected(First(["a", "b", "c", "d", "e"], most=1), second).found) == ["a", "x", "y", "z"]


def test_stages_with_quotas_take_turns_and_each_is_asked_for_its_share() -> None:
    first, second = First(["a", "b", "c", "d", "e"], quota=0.5), Second(["x"], ["y", "z"], quota=0.5)
    assert list(collected(first, second, Last(["l"])).found) == ["a", "x", "b", "y"]
    assert second.asked == 2
    assert list(collected(First(["a", "b", "c", "d"], quota=0.5), Second(["x"], quota=0.5)).found) == [*"axbc"]


def test_who_is_late_does_not_wait_for_stages_and_looks_once() -> None:
    collector = Collector(
        [First(["a"], quota=0.5), named(["b", "c"], quota=0.5), Last(["l"])], 3, 3, LeftOut((), ()), None, 9
    )
    assert collector.look() == []
    assert collector.look(late=True) == ["b", "c"]
    collector.take({"b": Item("b", "title")})
    assert list(collector.found) == ["b"]
    assert collector.look(late=True) == []


def test_filters_hold_and_what_they_leave_out_is_counted() -> None:
    collector = collected(First(["a", "r1", "b"], ["r2"]), Second(["c", "r3"]), wanted=RARE)
    assert (list(collector.found), collector.rejected, collector.short) == (["r1", "r2", "r3"], {"filtered": 3}, False)


def test_a_last_resort_is_asked_only_while_there_is_not_enough() -> None:
    last = Last(["x", "y", "z"])
    assert list(collected(First(["a", "b"]), last).found) == ["a", "b"]
    assert last.asked == 0
    assert list(collected(First(["a"]), last).found) == ["a", "x", "y", "z"]
    assert last.asked == 1


def test_no_stage_is_asked_for_more_than_is_needed() -> None:
    second = Second(["x"])
    assert list(collected(First(["a", "b", "c", "d", "e"]), second).found) == ["a", "b", "c", "d"]
    assert second.asked == 0


def test_the_bound_on_the_items_looked_at_ends_the_search_and_says_so() -> None:
    collector = collected(First([f"a{number}" for number in range(50)], ["r"]), wanted=RARE, most=20)
    assert (collector.rejected["filtered"], collector.short, collector.at_bound) == (20, True, True)
    assert not collected(First(["a"]), most=20).at_bound


@given(
    st.lists(st.lists(st.sampled_from([f"{kind}{number}" for kind in "abr" for number in range(9)]), max_size=9)),
    st.integers(1, 12),
    st.sets(st.sampled_from(["a1", "r1", "r2"])),
    st.booleans(),
    st.integers(0, 30),
)
def test_the_guarantees_hold_for_any_pages(
    pages: list[list[str]], count: int, seen: set[str], filtered: bool, most: int
) -> None:
    stages = [Second(*pages[:2]), First(*pages[2:], most=3)]
    wanted = RARE if filtered else None
    collector = collected(*stages, count=count, enough=1, seen=seen, wanted=wanted, most=most)
    found = list(collector.found)
    assert len(found) <= min(count, most, LOOKED_AT_ONCE)
    assert not seen & set(found)
    assert sum(source == "cooccurrence" for source in sources(collector).values()) <= 3
    assert not filtered or all(item_id.startswith("r") for item_id in found)
    expected = dict.fromkeys(one for page in pages[:2] for one in page if one not in seen)
    if most == 30 and not filtered:
        assert found[: len(expected)] == list(expected)[:count], (
            "all of the first stage come first, while there is room"
        )
