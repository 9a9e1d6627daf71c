"""Administrative commands are in the audit log, on stderr, with the user of the operating system."""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import structlog

from service import audit
from service.errors import TastestreamError


@contextmanager
def audited(action: str, **what: object) -> Iterator[dict[str, object]]:
    """Write one line when the block ends, however it ends. What the block adds to the yielded fields is written too."""
    outcome = audit.OK
    try:
        yield what
    except BaseException as error:
        outcome = error.code if isinstance(error, TastestreamError) else type(error).__name__
        raise
    finally:
        # As JSON, and not on stdout, which may be the input of another program.
        log = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=lambda entry, **_: orjson.dumps(entry).decode()),
            ],
        )
        log.info(action, module=audit.MODULE, outcome=outcome, os_user=_os_user(), **what)


def _os_user() -> str:
    """The name of the real user id: an environment variable could name anybody."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
