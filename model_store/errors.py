"""The base class of all errors that end a command with one sentence, and what to say of a malformed value."""

from pydantic import ValidationError


class UserError(Exception):
    """An error that users can fix; the message says what is wrong and, if known, how to fix it."""


def first_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, with the field where it is."""
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, fault["loc"]))
    return f"{field}: {fault['msg']}" if field else fault["msg"]
