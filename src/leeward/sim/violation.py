"""What a checker raises."""


class ViolationError(AssertionError):
    """The protocol broke a promise. The message says which, and when."""
