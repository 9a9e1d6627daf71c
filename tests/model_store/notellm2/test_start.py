"""New weights start so that items are told apart."""

import copy

import torch

from model_store.notellm2.start import start_new_weights
from model_store.notellm2.train import TrainedEmbedder


def test_vectors_of_different_items_start_apart_and_features_do_not_drown_words(trained: TrainedEmbedder) -> None:
    model = copy.deepcopy(trained.model).requires_grad_(False)
    batch, seen = trained.items.batch(range(60), [number % 4 > 0 for number in range(60)])
    # As of a large language model: what all items share is far larger than what they differ in.
    model.llm.model.norm.weight *= 0.01
    shared = 10 * torch.randn(model.project.in_features)
    read = model._read

    def shifted(*given: object) -> tuple[torch.Tensor, torch.Tensor]:
        whole, picture = read(*given)
        return whole + shared, picture + shared

    model._read = shifted
    before = model(batch, seen).whole
    start_new_weights(model, batch, seen)
    after = model(batch, seen).whole
    assert float((before @ before.T).mean()) > 0.7
    assert abs(float((after @ after.T).mean())) < 0.4
    hidden = model.hidden(batch, seen)
    assert hidden.features is not None
    ratio = hidden.features.std(0).square().mean().sqrt() / hidden.whole.std(0).square().mean().sqrt()
    assert 0.45 < float(ratio) < 0.55
