"""Settings of how pictures are fetched, decoded and stored."""

from service.settings.declare import Count, Level, Ports, Seconds, setting


class PictureSettings(Level):
    """How pictures are fetched, decoded and stored."""

    url: str | None = setting(None, "Folder of pictures: a path or an fsspec URL; default: `pictures` in `data_dir`.")
    tokens_url: str | None = setting(
        None,
        "Folder of pictures' soft tokens: a path or an fsspec URL; default: `tokens` in the folder of pictures.",
    )
    max_bytes: Count = setting(8 * 1024 * 1024, "Largest picture that is accepted.")
    max_pixels: Count = setting(40_000_000, "Most pixels of a picture.")
    max_side: Count = setting(16_384, "Longest side of a picture in pixels.")
    decode_memory_bytes: Count = setting(512 * 1024 * 1024, "Memory for decoding one picture.")
    decode_cpu_s: Count = setting(5, "Processor time for decoding one picture.")
    decode_timeout_s: Seconds = setting(15.0, "Timeout of decoding one picture.")
    max_concurrent_decodes: Count = setting(2, "Processes that decode pictures, per gateway or worker.")
    max_waiting_decodes: Count = setting(1024, "Pictures waiting to be decoded; further ones are rejected with 429.")
    stored_side: Count = setting(512, "Longest side of a stored picture in pixels.")
    fetch_timeout_s: Seconds = setting(10.0, "Timeout of fetching one picture.")
    fetch_first_timeout_s: Seconds = setting(4.0, "Timeout of the first attempt to fetch a picture.")
    max_concurrent_fetches: Count = setting(16, "Pictures fetched at the same time by one worker.")
    max_concurrent_fetches_per_site: Count = setting(
        4, "Pictures fetched at the same time from one site, by one worker."
    )
    fetch_attempts: Count = setting(6, "Attempts to fetch a picture.")
    fetch_retry_initial_s: Seconds = setting(5.0, "Delay before the second attempt; it doubles with each further one.")
    fetch_retry_max_s: Seconds = setting(300.0, "Longest delay between attempts to fetch a picture.")
    fetch_ports: Ports | None = setting(
        None,
        "Ports that pictures are fetched from, such as `80,443`; default: 80 and 443, or any with private addresses.",
    )
    cached_bytes: Count = setting(64 * 1024 * 1024, "Memory of a gateway for stored pictures, or for soft tokens.")
    sweep_every_s: Seconds = setting(3600.0, "Interval at which unused pictures are removed.")
    grace_s: Seconds = setting(3600.0, "Minimum age of an unused picture before it is removed.")
    allow_private_addresses: bool = setting(False, "Fetch from private addresses; only for tests and closed networks.")

    def may_fetch_from(self, port: int) -> bool:
        """Whether pictures may be fetched from this port."""
        if self.fetch_ports is None:
            return port in (80, 443) or (self.allow_private_addresses and port > 0)
        return port in self.fetch_ports
