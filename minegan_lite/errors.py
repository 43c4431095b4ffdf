"""The two ways in which a call can fail on purpose. Each message is one line that says what to do."""


class UserError(ValueError):
    """The input is wrong; nothing was written. The CLI prints the message and exits with 2."""


class Diverged(RuntimeError):
    """Training left the finite numbers, or the critic exploded; the last good checkpoint is kept."""
