"""The rule that writes the training targets of the small summarizer.

No large teacher is at hand, so the target of `summary[n] = LLM(summary[n-1], block)` comes from a
rule, which is Markov in the text: all it knows of the past is what the old summary says. A summary is
two ordered lists of terms, the surest first, in one fixed form:

    Likes jazz, red, circle, harbor. Avoids punk, square.

A term's place is its weight. Folding a block

1. weighs each term of the old lists by its place, the last one 1, the one before it 2, ...;
2. adds `rise` for each liked event of the block that shows the term, and takes `fall` for each
   disliked one (the other way round for the list of avoided terms);
3. sorts by weight, the more recent first among equals, drops what is no longer above 0, and cuts
   the lists to their lengths.

So a confirmed term climbs, a contradicted one drops out, and one that nothing confirms sinks under
newer ones until it falls off the end.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_store.signals import BUILT_IN, Signals
from model_store.views import InteractionView, ItemView

_FORM = re.compile(r"\s*Likes (?P<likes>[^.]*)\.(?: Avoids (?P<avoids>[^.]*)\.)?\s*")
_NOTHING = "nothing yet"
_WORD = re.compile(r"[^\W\d_]{3,}")
_MARKS = re.compile(r"[,.\s]+")
_STOP_WORDS = """
about above after again all also and any are because been before being below between both but can did does down during
each few for from further had has have her here him his how into its just let like more most much new nor not now off
old once one only other our out over own same she should some such than that the their them then there these they this
those through too two under until upon very was way were what when where which while who why will with you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Summary:
    """What a summary says: terms liked and terms avoided, the surest first."""

    likes: tuple[str, ...] = ()
    avoids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TasteRule:
    """The lengths of the lists, the weight of one event and what it means."""

    likes: int = 10
    avoids: int = 4
    rise: int = 4
    fall: int = 4
    signals: Signals = BUILT_IN

    def fold(self, old: str, block: Sequence[InteractionView], terms: "TermFinder") -> str:
        """Write the summary that follows `old` after the events of `block`, oldest first."""
        liked, disliked = Counter[str](), Counter[str]()
        latest: dict[str, int] = {}
        for moment, event in enumerate(block, 1):
            found = terms.of(event.item) if event.item is not None else ()
            signal = self.signals(event.type, event.value)
            if signal != "neutral":
                (liked if signal == "positive" else disliked).update(found)
                latest.update(dict.fromkeys(found, moment))
        before = parse(old)
        likes = self._update(before.likes, liked, disliked, latest, self.likes)
        avoids = self._update(before.avoids, disliked, liked, latest, self.avoids)
        return render(Summary(likes, tuple(term for term in avoids if term not in likes)))

    def _update(
        self, old: Sequence[str], up: Counter[str], down: Counter[str], latest: dict[str, int], length: int
    ) -> tuple[str, ...]:
        weights = {term: len(old) - place for place, term in enumerate(old)}
        for term in {**dict.fromkeys(old), **dict.fromkeys(up)}:
            weights[term] = weights.get(term, 0) + self.rise * up[term] - self.fall * down[term]
        kept = [term for term, weight in weights.items() if weight > 0]
        kept.sort(key=lambda term: (-weights[term], -latest.get(term, 0)))
        return tuple(kept[:length])


@dataclass(frozen=True, slots=True)
class TermFinder:
    """Finds an item's terms: its genres and tags in `names`, and the words of title and summary in `words`."""

    names: frozenset[str]
    words: frozenset[str]

    def knowing(self, names: Iterable[str]) -> "TermFinder":
        """The same, which knows further genres and tags."""
        return TermFinder(self.names | {normalize(name) for name in names}, self.words)

    def of(self, item: ItemView) -> tuple[str, ...]:
        """The terms of `item`, each once."""
        named = [name for name in names_of(item) if name in self.names]
        read = [word for word in words_of(f"{item.title} {item.summary}") if word in self.words]
        return tuple(dict.fromkeys((*named, *read)))

    @classmethod
    def learn(cls, items: Sequence[ItemView], minimum: int = 5, share: float = 0.01) -> "TermFinder":
        """Take the names that at least `minimum` items have, and the words that at least this share of them has too.

        A term of one or two items says nothing that could be learned from them.
        """
        names, words = Counter[str](), Counter[str]()
        for item in items:
            names.update(set(names_of(item)))
            words.update(set(words_of(f"{item.title} {item.summary}")))
        enough = max(minimum, share * len(items))
        return cls(
            frozenset(name for name, count in names.items() if count >= minimum),
            frozenset(word for word, count in words.items() if count >= enough),
        )


def names_of(item: ItemView) -> list[str]:
    """The genres and the first tags, as a summary can carry them."""
    return [name for text in (*item.genres, *item.tags[:4]) if (name := normalize(text))]


def words_of(text: str) -> list[str]:
    """The words of at least three letters, in lower case, without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def normalize(term: str) -> str:
    """A term as a summary can carry it: lower case, one line, without the marks that separate terms."""
    return _MARKS.sub(" ", term.lower()).strip()


def render(summary: Summary) -> str:
    """Write the lists as the one text that `parse` reads back."""
    likes = f"Likes {', '.join(summary.likes) or _NOTHING}."
    return f"{likes} Avoids {', '.join(summary.avoids)}." if summary.avoids else likes


def parse(text: str) -> Summary:
    """Read a summary back; a text in any other form says nothing."""
    match = _FORM.fullmatch(text)
    if match is None:
        return Summary()
    likes = "" if match["likes"] == _NOTHING else match["likes"]
    return Summary(_terms(likes), _terms(match["avoids"] or ""))


def _terms(listed: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term for part in listed.split(",") if (term := part.strip())))
