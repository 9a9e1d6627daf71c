"""How an embedder is trained."""

from dataclasses import dataclass, field

from model_store.msr.parts import lora
from model_store.notellm2.base import ScratchSizes
from model_store.notellm2.items import Inputs
from model_store.notellm2.loss import Partners
from model_store.signals import BUILT_IN, Signals


@dataclass(frozen=True, slots=True)
class EmbedderOptions:
    """How long, on what and how to train.

    `minutes` bounds the time of the optimizer, and the learning rate follows the clock. `steps`, if given, replaces it
    and makes a run repeatable. The published recipe is `pairs` 128 and `picture_weight` 0.1.
    """

    minutes: float = 60.0
    steps: int | None = None
    seed: int = 0
    pairs: int = 64
    """Pairs in one step."""
    partners: Partners = "all"
    """What an item has to find among the others of a step: `drawn` only its partner, as in the paper."""
    dimensions: int = 64
    queries: int = 16
    inner: int = 256
    """The width of the connector's query tokens."""
    connector_layers: int = 2
    layers: int = 0
    """Keep only so many of the first layers of a pretrained model; 0 keeps all."""
    adapter: lora.LoraSizes | None = field(default_factory=lora.LoraSizes)
    """None trains all weights of a pretrained model, as a new one's."""
    scratch: ScratchSizes = field(default_factory=ScratchSizes)
    llm_rate: float = 5e-4
    new_rate: float = 2e-3
    """Of what is always new: connector, gate and projection."""
    picture_weight: float = 0.1
    """Of the loss of the positions that have seen only the picture; the whole item has the rest."""
    inputs: Inputs = "both"
    micl: bool = True
    """Read a position that has seen only the picture (mICL)."""
    late_fusion: bool = True
    drop_picture: float = 0.1
    """The share of pictured items that are shown without their picture, so that words alone are embedded as well."""
    cold_share: float = 0.0
    """The share of items that are hidden from the training, for evaluations of new items."""
    top_pairs: int = 100
    """Partners kept per item."""
    window: int = 50
    """How many likes later a partner may follow."""
    discount: float = 0.5
    """Of popular partners, see `model_store.retrieval.pairs`."""
    validations: int = 5
    validation_items: int = 500
    patience: int = 3
    bf16: bool | None = None
    """Multiply in bfloat16; None does for adapters if the processor has units for it."""
    signals: Signals = BUILT_IN
