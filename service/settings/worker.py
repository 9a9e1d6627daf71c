"""Settings of a worker."""

from service.settings.declare import Count, Level, Port, Seconds, setting


class WorkerSettings(Level):
    """How much one worker does at the same time."""

    max_concurrent_summaries: Count = setting(
        32, "Users whose summaries are rewritten at the same time, for each summarizer."
    )
    max_concurrent_descriptions: Count = setting(8, "Items that are described at the same time, for each summarizer.")
    max_concurrent_encodings: Count = setting(16, "Pictures that are encoded at the same time, for each ranker.")
    max_concurrent_embeddings: Count = setting(32, "Items whose vectors are made at the same time, for each embedder.")
    poll_s: Seconds = setting(0.1, "Interval at which an idle worker looks for work.")
    drain_s: Seconds = setting(20.0, "Time that running work has to finish after SIGTERM.")
    metrics_host: str = setting("127.0.0.1", "Address on which a worker serves /metrics.")
    metrics_port: Port | None = setting(None, "Port of a worker's /metrics.")
