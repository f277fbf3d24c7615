"""The two ways a run ends early; main.py prints the one line and exits."""


class SignjaxError(Exception):
    """A failure with one line for the person: what, where, expected, what to do."""

    exit_status = 1


class InputError(SignjaxError):
    """What the person gave (flag, config key, file, image) is wrong."""

    exit_status = 2


class RunError(SignjaxError):
    """The run cannot go on: diverged loss, out of memory, interrupted."""
