"""Exit status 0 if the process of this container answers: a worker on its metrics port, a gateway on /healthz.

For HEALTHCHECK, in images without curl. It uses no proxy, whatever the environment says.
"""

import http.client
import os
import sys
from pathlib import Path

TIMEOUT_S = 3.0


def failure() -> str | None:
    """Why the container is not healthy; None if it is."""
    if b"worker" in Path("/proc/1/cmdline").read_bytes().split(b"\0"):
        port, path = os.environ.get("TASTESTREAM_WORKER__METRICS_PORT", "9100"), "/metrics"
    else:
        port, path = os.environ.get("TASTESTREAM_PORT", "8000"), "/healthz"
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"port {port} does not answer: {error!r}"
    return None if status == http.HTTPStatus.OK else f"{path} answers {status}"


if __name__ == "__main__":
    sys.exit(failure())
