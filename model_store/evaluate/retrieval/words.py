"""Vectors of items from their words alone, without a model: TF-IDF and a truncated SVD (latent semantic analysis)."""

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from model_store.data.dataset import Dataset, DatasetItem
from model_store.evaluate.retrieval.vector_files import ItemRows, item_rows

_DIMENSIONS = 64


def word_vectors(dataset: Dataset, seed: int) -> ItemRows:
    """Vectors of the title, description, genres and tags of each item; none learned from interactions."""
    items = list(dataset.items)
    counts = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=min(2, len(items)))
    weights = counts.fit_transform([_text(item) for item in dataset.items.values()])
    dimensions = min(_DIMENSIONS, weights.shape[1])
    return item_rows(items, items, TruncatedSVD(dimensions, random_state=seed).fit_transform(weights))


def _text(item: DatasetItem) -> str:
    terms = " ".join(term.replace(" ", "_") for term in (*item.genres, *item.tags))
    return f"{item.title} {item.description} {' '.join(item.tags)} {terms}"
