"""Failures at the door: each message says what was got, what was expected and what to try."""


class BumpfitError(Exception):
    """A result could not be obtained; the message is one sentence for the user."""

    exit_code = 1


class InputError(BumpfitError):
    """Wrong use or bad input (files, columns, options, values)."""

    exit_code = 2


class UnfinishedError(BumpfitError):
    """The machine failed, not the question: disk full, workers gone; what was finished is kept to go on from."""


class MissingExtraError(InputError):
    """An optional package is needed and absent; the message says how to install it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: pip install 'bumpfit[{extra}]'"
        )


class NoticeWarning(UserWarning):
    """Something that a command says in one sentence while it goes on."""


class InputWarning(NoticeWarning):
    """Inputs that can be used but are probably not what was meant."""


class WaitingWarning(NoticeWarning):
    """The run waits for something outside of it."""
