"""What can be wrong with what came from outside. Every message names the thing that is wrong."""


class ActiveFreqError(Exception):
    """Base of all errors that the library raises on purpose."""


class InputError(ActiveFreqError, ValueError):
    """An image, a click, a mask, an option or a file of the user's cannot be used."""


class CheckpointError(ActiveFreqError, RuntimeError):
    """A checkpoint file is missing, damaged, or does not fit the model that it names."""
