"""What the vectors of an item depend on."""

import copy

import numpy as np
import pytest
import torch

from model_store.notellm2 import model
from model_store.notellm2.train import TrainedEmbedder


def test_what_all_hidden_states_share_does_not_reach_the_vectors(trained: TrainedEmbedder) -> None:
    model = copy.deepcopy(trained.model).requires_grad_(False)
    batch, seen = trained.items.batch(range(30), [number % 4 > 0 for number in range(30)])
    model.train()
    expected = model(batch, seen)
    read, shared = model._read, 10 * torch.randn(model.project.in_features)
    model._read = lambda *given: tuple(states + shared for states in read(*given))
    found = model(batch, seen)
    torch.testing.assert_close(found.whole, expected.whole, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.picture, expected.picture, atol=1e-3, rtol=0)


def test_the_head_makes_the_vectors_of_the_model(trained: TrainedEmbedder) -> None:
    model = trained.model
    batch, seen = trained.items.batch(range(12), [number % 3 > 0 for number in range(12)])
    with torch.inference_mode():
        expected, hidden = model(batch, seen).whole.numpy(), model.hidden(batch, seen)
    assert hidden.features is not None
    head = model.head()
    features = dict(zip(batch.pictured.tolist(), hidden.features.numpy(), strict=True))
    for row, state in enumerate(hidden.whole.numpy()):
        np.testing.assert_allclose(head(state[None], features.get(row))[0], expected[row], atol=1e-5)
    assert float(np.abs(model.whole.mean.numpy()).max()) > 0


def test_a_vector_does_not_depend_on_the_items_beside_it(trained: TrainedEmbedder) -> None:
    with torch.inference_mode():
        together = trained.model(*trained.items.batch([0, 1, 2], [True, False, True]))
        alone = trained.model(*trained.items.batch([2], [True]))
    torch.testing.assert_close(together.whole[2], alone.whole[0], atol=1e-5, rtol=0)
    assert together.pictured.tolist() == [0, 2]
    norms = together.whole.norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_items_computed_by_length_keep_their_order(trained: TrainedEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = list(range(12))
    batch, seen = trained.items.batch(numbers, [number % 3 > 0 for number in numbers])
    assert len(set(batch.mask.sum(1).tolist())) > 2
    with torch.inference_mode():
        padded = trained.model(batch, seen)
        monkeypatch.setattr(model, "_ROWS_AT_ONCE", 5)
        apart = trained.model(batch, seen)
    torch.testing.assert_close(apart.whole, padded.whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(apart.picture, padded.picture, atol=1e-5, rtol=0)


def test_the_picture_position_has_seen_no_word(trained: TrainedEmbedder) -> None:
    with torch.inference_mode():
        full = trained.model(*trained.items.batch([0], [True]))
        wordless = trained.model(*trained.items.batch([0], [True], words=False))
        without = trained.model(*trained.items.batch([0], [False]))
    torch.testing.assert_close(full.picture, wordless.picture, atol=1e-5, rtol=0)
    assert not torch.allclose(full.whole, wordless.whole, atol=1e-3)
    assert not torch.allclose(full.whole, without.whole, atol=1e-3)
    assert len(without.picture) == 0
