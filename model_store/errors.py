"""The base of all errors that end a command with one sentence."""


class UserError(Exception):
    """Something that a person can mend; the message says what is wrong and, where known, how to mend it."""
