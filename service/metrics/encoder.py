"""Series of the picture encoder."""

from service.metrics.declare import Declare

_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_OUTCOMES = ("encoded", "unreadable", "too_large", "shed", "other_version", "disconnected", "failed")


class EncoderSeries:
    def __init__(self, declare: Declare) -> None:
        self.encoder_pictures = declare.counter(
            "tastestream_encoder_pictures_total",
            "Requests to the picture encoder by outcome: encoded, unreadable, too_large, shed (too many waited), "
            "other_version (a worker asked for another model version), disconnected, failed.",
            ("outcome",),
            known=[(outcome,) for outcome in _OUTCOMES],
        )
        self.encoder_batch = declare.histogram(
            "tastestream_encoder_batch_pictures", "Pictures that were encoded together.", buckets=_BATCHES
        )
        self.encoder_seconds = declare.histogram(
            "tastestream_encoder_batch_seconds", "Time to encode the pictures of one batch."
        )
