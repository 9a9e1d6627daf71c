"""Settings of the picture encoder."""

from service.settings.declare import Count, Level, Port, setting


class EncoderSettings(Level):
    """The picture encoder, `tastestream encoder`. It is for workers alone: it asks for no key."""

    host: str = setting("127.0.0.1", "Address on which an encoder listens.")
    port: Port = setting(8003, "Port on which an encoder listens.")
    max_batch: Count = setting(16, "Pictures that are encoded together.")
    max_waiting: Count = setting(64, "Pictures that wait or are encoded; further ones are rejected with 429.")
    max_bytes: Count = setting(4 * 1024 * 1024, "Largest picture that is accepted.")
