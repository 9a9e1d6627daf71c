"""Vectors of items from their words alone, without a model: TF-IDF and a truncated SVD (latent semantic analysis)."""

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from model_store.data.dataset import Dataset, DatasetItem
from model_store.errors import UserError
from model_store.evaluate.retrieval.vector_files import ItemRows, item_rows

_DIMENSIONS = 64


def word_vectors(dataset: Dataset, seed: int) -> ItemRows:
    """Vectors of the title, description, genres and tags of each item; none learned from interactions.

    Raises:
        UserError: no word is in two items.
    """
    items = list(dataset.items)
    counts = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=min(2, len(items)))
    try:
        weights = counts.fit_transform([_text(item) for item in dataset.items.values()])
    except ValueError:
        raise UserError("TF-IDF + SVD finds no word that two items share: leave it out of --methods") from None
    dimensions = min(_DIMENSIONS, weights.shape[1])
    return item_rows(items, items, TruncatedSVD(dimensions, random_state=seed).fit_transform(weights))


def _text(item: DatasetItem) -> str:
    terms = " ".join(term.replace(" ", "_") for term in (*item.genres, *item.tags))
    return f"{item.title} {item.description} {' '.join(item.tags)} {terms}"
