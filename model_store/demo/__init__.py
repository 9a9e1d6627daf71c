"""The demo: a synthetic world with pictures, and the small model trained on it."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
"""The model store that comes with the package: `demo-summarizer` and `demo-ranker`."""

SEED = 7
ITEMS = 1500
"""Items of the world that the model was trained on."""
CATALOGUE = 600
"""How many of them `tastestream up --demo` loads."""
