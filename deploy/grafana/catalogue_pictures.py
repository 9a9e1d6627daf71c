"""The catalogue, what retrieval finds in it, and its pictures."""

from dataclasses import replace

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Query, lines
from deploy.grafana.queries import occurring, or_none, or_zero, p50_p99, per_second, series, share

_ACCEPTED = per_second("tastestream_events_total", 'result="accepted"')
_OF_ITEMS = 'kind=~"fetch|describe|encode"'
_JOBS = "tastestream_jobs_total"
_WAITING, _ENDED = "TastestreamPicturesWaiting", "TastestreamPictureDecodersEnded"

_CATALOGUE_ROW = Row(
    "Catalogue",
    [
        lines(
            "Items written, by result",
            "created, updated, rejected or deleted. An import shows as a hill.",
            Query(or_none(per_second("tastestream_items_total", by="result"), "result"), "{{result}}"),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Events of unknown items and types",
            "Share of the accepted events. An event of an unknown item reaches no summary; one of an unknown type "
            "counts as neutral.",
            Query(share(per_second("tastestream_events_unknown_item_total"), _ACCEPTED), "unknown item"),
            Query(share(per_second("tastestream_unknown_event_types_total"), _ACCEPTED), "unknown type"),
            unit="percentunit",
            thresholds=[(0.1, "red")],
            runbooks=["TastestreamUnknownItems", "TastestreamUnknownEventTypes"],
        ),
        lines(
            "Age of the indexes of retrieval",
            "Time since a like was last counted.",
            Query(
                f"time() - max by (index) ({series('tastestream_index_updated_timestamp_seconds')} > 0)", "{{index}}"
            ),
            unit="s",
            runbooks=["TastestreamIndexStale"],
        ),
        lines(
            "Candidates before the filter, by source",
            "given: by the caller. The others are the stages of retrieval.",
            Query(or_none(per_second("tastestream_retrieved_candidates_total", by="source"), "source"), "{{source}}"),
            unit="cps",
            width=12,
            stacked=True,
        ),
        lines(
            "Candidates, by outcome",
            "ranked, or why not: unknown, seen before, filtered; unscored: the model rejected them.",
            Query(or_none(per_second("tastestream_candidates_total", by="outcome"), "outcome"), "{{outcome}}"),
            unit="cps",
            width=12,
            stacked=True,
            runbooks=["TastestreamEmptyLists", "TastestreamShortLists"],
        ),
    ],
)

_PICTURES_ROW = Row(
    "Pictures",
    [
        lines(
            "Pictures, by result",
            "stored, stored_blank (all white or black), or why it was rejected.",
            Query(or_none(per_second("tastestream_pictures_total", by="result"), "result"), "{{result}}"),
            unit="cps",
            stacked=True,
            runbooks=[_ENDED],
        ),
        lines(
            "Pictures that wait to be fetched",
            "Items given with the URL of their picture. Meanwhile they are recommended without it.",
            Query(f"max ({series('tastestream:pending_pictures:max')})", "waiting"),
            unit="short",
            runbooks=[_WAITING],
        ),
        lines(
            "Decoders that ended over a picture",
            "Each costs one picture. cpu and timeout: it took too long. crash: memory, or a fault of the decoder. "
            "cancelled: nobody waits for it any more.",
            Query(or_none(per_second("tastestream_picture_decoders_ended_total", by="cause"), "cause"), "{{cause}}"),
            unit="cps",
            runbooks=[_ENDED],
        ),
        lines(
            "Work on pictures, by outcome",
            "fetch gets a picture, describe writes what the model sees on it, encode makes its soft tokens for a text "
            "LLM. refused: not an acceptable picture.",
            Query(
                occurring(per_second(_JOBS, _OF_ITEMS, by="kind, outcome"), "kind"),
                "{{kind}} {{outcome}}",
            ),
            unit="cps",
            width=12,
            stacked=True,
            runbooks=[_WAITING, "TastestreamDeadLetters"],
        ),
        lines(
            "Time of a fetch, a description, an encoding",
            "One attempt, with the download or the call to the model.",
            *p50_p99("tastestream_job_seconds", _OF_ITEMS, by="kind"),
            unit="s",
            width=12,
            runbooks=[_WAITING],
        ),
        lines(
            "Pictures as soft tokens, by what the ranker was shown",
            "Only of a text LLM. awaited: not encoded yet. refused, lost, unreadable: ranked by their texts, and "
            "encoded again.",
            Query(or_none(per_second("tastestream_picture_tokens_total", by="result"), "result"), "{{result}}"),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Requests to the picture encoder, by outcome",
            "shed: more than `encoder.max_waiting` waited. other_version: `ranker.encoder_url` leads to the encoder of "
            "another model version.",
            Query(or_none(per_second("tastestream_encoder_pictures_total", by="outcome"), "outcome"), "{{outcome}}"),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Time of a batch of the picture encoder",
            "Pictures that arrive while a batch is encoded make up the next one.",
            *p50_p99("tastestream_encoder_batch_seconds"),
            unit="s",
        ),
        lines(
            "Pictures in a batch of the picture encoder",
            "Batches of `encoder.max_batch` pictures mean that it is the bottleneck.",
            *p50_p99("tastestream_encoder_batch_pictures"),
            unit="short",
        ),
        lines(
            "Removals of unused pictures",
            "In the last 6 hours. One worker removes them every `pictures.sweep_every_s`; failed means that the folder "
            "could not be read or written.",
            Query(
                or_none(f"sum by (outcome) (increase({series('tastestream_sweeps_total')}[6h]))", "outcome"),
                "{{outcome}}",
            ),
            unit="short",
        ),
        lines(
            "Removed pictures",
            "In the last 6 hours.",
            Query(f"sum (increase({series('tastestream_pictures_removed_total')}[6h]))", "pictures"),
            unit="short",
        ),
        lines(
            "Space freed",
            "In the last 6 hours.",
            Query(f"sum (increase({series('tastestream_picture_bytes_freed_total')}[6h]))", "bytes"),
            unit="bytes",
        ),
    ],
)

_VECTORS_ROW = Row(
    "Vectors of items",
    [
        lines(
            "Items by what the index of vectors has of them",
            "current is the index that is searched; next is filled after the promotion of another embedder. failed: "
            "the embedder gave up. stale: only the vector of earlier words, or of another picture.",
            Query(
                or_none(f"max by (index, state) ({series('tastestream_embedding_items')}) > 0", "index"),
                "{{index}} {{state}}",
            ),
            unit="short",
            width=12,
            runbooks=["TastestreamDeadLetters", "TastestreamVectorsWaiting"],
        ),
        lines(
            "Work on vectors, by outcome",
            "lost: the item changed while its vector was made. released: no server has the version, or it is down.",
            Query(occurring(per_second(_JOBS, 'kind="embed"', by="outcome"), "outcome"), "{{outcome}}"),
            unit="cps",
            width=12,
            stacked=True,
            runbooks=["TastestreamDeadLetters"],
        ),
        lines(
            "Vectors that are searched",
            "In each gateway, by tenant. Gateways that differ for long do not read the changes.",
            Query(or_none(f"sum by (instance) ({series('tastestream_index_vectors')})", "instance"), "{{instance}}"),
            unit="short",
        ),
        lines(
            "Age of what is searched",
            "Time since a gateway last knew every vector in Redis. It stays below a second while Redis answers.",
            Query(
                or_none(f"max by (instance) ({series('tastestream_index_age_seconds')})", "instance"), "{{instance}}"
            ),
            unit="s",
        ),
        lines(
            "From the commit of a vector to the search",
            "Or of the removal of an item. Without the loading of a whole index. 0 without observations.",
            *(replace(one, expr=or_zero(f"{one.expr} >= 0")) for one in p50_p99("tastestream_index_lag_seconds")),
            unit="s",
        ),
        lines(
            "Time of a search among the vectors",
            "In a thread of the gateway. It grows with the number of vectors. 0 without observations.",
            *(replace(one, expr=or_zero(f"{one.expr} >= 0")) for one in p50_p99("tastestream_index_search_seconds")),
            unit="s",
        ),
        lines(
            "Changes that gateways read, by outcome",
            "refused: a vector does not fit the others of its index.",
            Query(or_none(per_second("tastestream_index_changes_total", by="outcome"), "outcome"), "{{outcome}}"),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Changes of the index in use",
            "In the last 6 hours. swap: the next index was complete. A gateway then loads it; it also loads the "
            "current one when it starts, from a file or from Redis.",
            Query(f"sum (increase({series('tastestream_embedding_swaps_total')}[6h]))", "swap"),
            Query(
                f"sum by (source) (increase({series('tastestream_index_loads_total')}[6h]))", "loaded from {{source}}"
            ),
            unit="short",
        ),
    ],
)

CATALOGUE_PICTURES = Board(
    "catalogue-pictures",
    "Catalogue and pictures",
    "What is in the catalogue, whether events and requests name it, and what becomes of its pictures and vectors.",
    [_CATALOGUE_ROW, _PICTURES_ROW, _VECTORS_ROW],
)
