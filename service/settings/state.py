"""Settings of what Redis keeps."""

from typing import Annotated

from pydantic import Field

from service.settings.declare import Count, CountOrZero, Level, Seconds, SecondsOrZero, setting


class StateSettings(Level):
    """What Redis keeps, and for how long."""

    block_size: Count = setting(3, "Events folded into a summary in one step.")
    catch_up_block: Annotated[int, Field(gt=0, le=1000)] = setting(12, "Largest block while a user's backlog is long.")
    claim_blocks: Count = setting(4, "Most blocks of a user that a worker folds in one claim.")
    max_wait_s: Seconds = setting(5.0, "Longest wait of a pending event for its block to fill.")
    lease_s: Seconds = setting(60.0, "Time a worker has for claimed work before another worker may take it.")
    recents: Count = setting(20, "Recent events kept per user.")
    seen_items: Count = setting(200, "Item ids kept per user for `exclude_seen`.")
    votes: Count = setting(200, "Liked items kept per user, so that a user counts once for each item.")
    dedupe_ids: Count = setting(1024, "Event ids kept per user to detect duplicates; at least `limits.batch_events`.")
    dedupe_ttl_s: Seconds = setting(86400.0, "Time for which event ids are kept to detect duplicates.")
    retry_window_s: Seconds = setting(60.0, "Time in which a repeated event without id and timestamp is a duplicate.")
    max_pending: Count = setting(1000, "Pending events per user; further ones are rejected with 429.")
    max_backlog: Count = setting(
        1_000_000, "Pending events of all users of a tenant; further ones are rejected with 429."
    )
    memory_reserve: Annotated[float, Field(ge=0, lt=1)] = setting(
        0.05, "Share of Redis's `maxmemory` that new events may not use, so that the backlog can still be folded."
    )
    event_log_size: CountOrZero = setting(
        1_000_000, "Accepted events of a tenant kept for exports and rebuilds; 0 keeps none."
    )
    event_log_retention_s: Seconds = setting(30 * 86400.0, "Time for which accepted events are kept in the event log.")
    shown_log_size: CountOrZero = setting(
        0, "Answers of a tenant kept with the features of their items, for `recommendations export`; 0 keeps none."
    )
    summary_versions: Count = setting(3, "Summary versions whose event ids are kept.")
    max_attempts: Count = setting(5, "Attempts before work is dead-lettered.")
    retry_initial_s: Seconds = setting(0.5, "Delay before the first retry; it doubles with each further one.")
    retry_max_s: Seconds = setting(60.0, "Longest delay between retries.")
    tombstone_s: Seconds = setting(3600.0, "Time for which a deletion blocks events that were received before it.")
    clock_skew_s: SecondsOrZero = setting(0.02, "Largest difference between the clocks of gateways and Redis.")
    dead_letters: Count = setting(10_000, "Dead letters kept per bucket; when it is full, failed work stays pending.")
    neighbours: Count = setting(100, "Co-occurring items kept per item.")
    popular: Count = setting(100_000, "Items kept in the popularity ranking.")
    score_cache_ttl_s: Seconds = setting(600.0, "Time for which scores are cached.")
    score_cache_items: Count = setting(1000, "Cached scores per user.")
    summary_chars: Count = setting(4000, "Longest summary or item description that is stored.")
    redis_timeout_s: Seconds = setting(2.0, "Timeout of connecting to Redis, and of each command.")
    redis_connections: Count = setting(64, "Connections to Redis per process.")
    wait_replicas: CountOrZero = setting(0, "Replicas that must have a write before it is acknowledged.")
    wait_aof: bool = setting(False, "Acknowledge a write only when it is in the append-only file; needs Redis 7.2.")
    replication_timeout_s: Seconds = setting(1.0, "Timeout of waiting for replicas and disks; then the answer is 503.")
    user_ttl_s: SecondsOrZero = setting(0.0, "Idle users are deleted after this time; 0 keeps them.")
    buckets: Count = setting(64, "Hash slots that users are spread over. Fixed once there is data.")
