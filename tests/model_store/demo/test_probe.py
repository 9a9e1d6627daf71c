"""The shipped ranker has a probe, computed from its weights by its own prompts."""

import numpy as np
import pytest

from model_store.demo import MODELS
from model_store.msr.scratch.architecture import Sizes, read_checkpoint
from model_store.msr.scratch.encoding import Encoder
from model_store.msr.scratch.generator import Generator
from model_store.msr.scratch.publish import make_probe
from model_store.registry.registry import Registry


def test_the_demo_rankers_probe_is_what_its_weights_score() -> None:
    registry = Registry(MODELS)
    ranker = registry.get("demo-ranker")
    model, processor = read_checkpoint(registry.local_folder(ranker))
    sizes = Sizes(vocabulary=2048, picture=ranker.picture)
    encoder = Encoder(processor.tokenizer, registry.prompts(ranker), sizes)
    found = make_probe(encoder, Generator(model, encoder, sizes, np.empty((0, 1, 1, 3), np.uint8)).rank)
    assert ranker.probe is not None
    assert (found.summary, found.title) == (ranker.probe.summary, ranker.probe.title)
    assert found.score == pytest.approx(ranker.probe.score, abs=1e-3)
