"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """Bad input: the message is one sentence that says which file, what is wrong and what to do.

    The command line prints it without a traceback and exits with status 2.
    """
