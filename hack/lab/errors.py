"""The one error the lab raises on purpose."""


class LabError(Exception):
    """The lab cannot do what it was asked; the text says what is missing or wrong, and the remedy."""
