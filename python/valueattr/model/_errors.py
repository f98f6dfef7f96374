"""The error of this room, and how it words what other libraries say."""


class ModelError(Exception):
    """A model that cannot be used; the message says why and what to do."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name if it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0].rstrip(".:") if said else type(error).__name__
