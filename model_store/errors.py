"""The base class of all errors that end a command with one sentence."""


class UserError(Exception):
    """An error that users can fix; the message says what is wrong and, if known, how to fix it."""
