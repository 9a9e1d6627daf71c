"""Series of the vectors of items, and of the index in which a gateway searches them."""

from collections.abc import Mapping

from service.metrics.declare import STEP_BUCKETS, Declare
from service.state.embeddings import IndexCounts


class EmbeddingSeries:
    def __init__(self, declare: Declare) -> None:
        self.embedding_items = declare.gauge(
            "tastestream_embedding_items",
            "Items by what an index of vectors has of them, by tenant, index (current; next, while another version's "
            "is filled) and state: embedded (the vector of their current content), failed (the embedder gave up), "
            "pending (neither), and stale: those of the failed and pending ones that have an older vector.",
            ("tenant", "index", "state"),
            across="latest",
        )
        self.embedding_swaps = declare.counter(
            "tastestream_embedding_swaps_total",
            "Changes of the index in use, each by the one worker that found the next one complete.",
        )
        self.index_vectors = declare.gauge(
            "tastestream_index_vectors",
            "Vectors that a gateway process searches, by tenant.",
            ("tenant",),
            across="max",
        )
        self.index_age = declare.gauge(
            "tastestream_index_age_seconds",
            "Time since the index of a gateway process last had every vector in Redis, by tenant.",
            ("tenant",),
            across="max",
        )
        self.index_lag = declare.histogram(
            "tastestream_index_lag_seconds",
            "Time from the commit of a vector, or its removal, until a gateway process finds it, of the newest in each "
            "read. Without the reads of a whole index.",
            buckets=STEP_BUCKETS,
        )
        self.index_search_seconds = declare.histogram(
            "tastestream_index_search_seconds", "Time of one search among the vectors of items.", buckets=STEP_BUCKETS
        )
        self.index_changes = declare.counter(
            "tastestream_index_changes_total",
            "Changes that gateway processes applied to their index, or workers to one in Qdrant, by outcome: upserted, "
            "removed, refused (a vector of another width, or with numbers that are not finite).",
            ("outcome",),
            known=(("upserted",), ("removed",), ("refused",)),
        )
        self.index_loads = declare.counter(
            "tastestream_index_loads_total",
            "Indexes that gateway processes put into use by source: file (and the changes since), redis (everything), "
            "qdrant (nothing is loaded).",
            ("source",),
            known=(("file",), ("redis",), ("qdrant",)),
        )

    def show_embeddings(self, tenants: Mapping[str, Mapping[str, IndexCounts]]) -> None:
        """Set the gauges of the items, for each tenant by index."""
        for tenant, indexes in tenants.items():
            for index in ("current", "next"):
                counts = indexes.get(index, IndexCounts())
                for state in ("embedded", "failed", "pending", "stale"):
                    self.embedding_items.labels(tenant, index, state).set(getattr(counts, state))
