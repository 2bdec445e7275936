"""The exceptions that are told in one sentence."""


class UserError(Exception):
    """Bad input: the message is one sentence that says which file, what is wrong and what to do.

    The command line prints it without a traceback and exits with `status`.
    """

    status = 2


class Unavailable(UserError):
    """Something beyond this machine is away or busy: nobody has to mend anything, a later try may go well."""

    status = 3
