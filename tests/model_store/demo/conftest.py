"""The tiny model and its world that the tests of training use."""

from tests.model_store.msr.conftest import one_thread, tiny, world

__all__ = ["one_thread", "tiny", "world"]
