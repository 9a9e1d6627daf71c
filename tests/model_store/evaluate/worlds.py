"""Small worlds whose answers are known."""

from pathlib import Path

from model_store.data.dataset import ITEMS, Dataset, DatasetItem, Interaction, item_line, write_interactions
from model_store.data.rows import InteractionRow


def like(item: str, at: float = 0, kind: str = "like") -> Interaction:
    return Interaction(item, kind, at)


def catalogue(size: int) -> dict[str, DatasetItem]:
    return {f"i{n}": DatasetItem(f"i{n}", f"Item {n}") for n in range(size)}


def world(users: int = 200, items: int = 60, length: int = 12) -> Dataset:
    """Two tastes: even users like even items, odd users odd ones, low numbers more often; no randomness."""
    histories = {}
    for user in range(users):
        liked = [2 * ((user * 7 + step * step) % (items // 2)) + user % 2 for step in range(length * 2)]
        distinct = list(dict.fromkeys(liked))[:length]
        histories[f"u{user}"] = tuple(like(f"i{item}", at) for at, item in enumerate(distinct))
    return Dataset(catalogue(items), histories)


def write_world(dataset: Dataset, folder: Path) -> Path:
    """Write the world as a dataset folder."""
    folder.mkdir(parents=True, exist_ok=True)
    items = (item_line({"item_id": item.item_id, "title": item.title}) for item in dataset.items.values())
    (folder / ITEMS).write_text("".join(items))
    rows = (
        InteractionRow(user, event.item_id, event.timestamp, type=event.type)
        for user, events in dataset.histories.items()
        for event in events
    )
    write_interactions(folder, rows)
    return folder
