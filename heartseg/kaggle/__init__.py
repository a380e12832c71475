"""Kaggle: train on a free GPU, pull verified results. Talking to it needs the kaggle client (the extra ``kaggle``)."""

from heartseg.errors import InputError


class TransientError(InputError):
    """Kaggle could not be reached, did not answer or had an error of its own: a later attempt may succeed."""
