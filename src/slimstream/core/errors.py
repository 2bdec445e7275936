"""Errors that are reported to the user as one sentence, without a traceback."""


class UserError(Exception):
    """A mistake of the user. The message is one sentence: which file, what is wrong, what to do.

    The command line prints it without a traceback and exits with `status`.
    """

    status = 2


class Unavailable(UserError):
    """A server is away or busy. The user has nothing to mend; a later try may succeed."""

    status = 3


def system_error(error: OSError, where: object) -> str:
    """What the system says, and of which file, else of `where`: no space or no permission, for example.

    Raises `error` itself when the system says nothing: libraries have errors of their own below OSError.
    """
    if error.filename is None and error.errno is None:
        raise error
    return f"{error.strerror}: {error.filename or where}"
