"""Errors that are reported to the user as one sentence, without a traceback."""


class UserError(Exception):
    """A mistake of the user. The message is one sentence: which file, what is wrong, what to do.

    The command line prints it without a traceback and exits with `status`.
    """

    status = 2


class Unavailable(UserError):
    """A server is away or busy. The user has nothing to mend; a later try may succeed."""

    status = 3
