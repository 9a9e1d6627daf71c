"""The demo: a synthetic world with pictures, and the small model trained on it."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
"""The model store in the package, with `demo-summarizer`, `demo-ranker` and `demo-embedder`."""

SEED = 7
ITEMS = 1500
"""Items in the world on which the model was trained."""
CATALOGUE = 600
"""How many of them `tastestream up --demo` loads."""
