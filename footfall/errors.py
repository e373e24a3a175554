"""The error that the command line shows as one line instead of a stack trace."""


class FootfallError(Exception):
    """Something the user can set right; the message says what happened and what to do next."""
