"""What the tests of the engine ask about, and an observer that remembers."""

import io

from PIL import Image

from model_store.engine.observer import Unobserved, Usage
from model_store.prompts import PromptSet
from model_store.registry.manifest import Labels, PictureTokens
from model_store.views import InteractionView, ItemView, UserView

PROMPTS = PromptSet.built_in("default")
LABELS = Labels(yes_id=11, no_id=7)
SOFT = PictureTokens(count=2, width=4)
CHAT = "/v1/chat/completions"
ITEM = ItemView("Red Harbour", ("drama",))
BLOCK = (InteractionView("like", ITEM),)
USER = UserView("This user enjoys harbours.", BLOCK)


def picture(size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, format="JPEG")
    return out.getvalue()


class Recorder(Unobserved):
    def __init__(self) -> None:
        self.usages: list[Usage] = []
        self.masses: list[float] = []

    def usage(self, usage: Usage) -> None:
        self.usages.append(usage)

    def label_mass(self, mass: float) -> None:
        self.masses.append(mass)
