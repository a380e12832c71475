"""Kaggle: train on a free GPU, bring verified results home. Needs the kaggle client (the extra ``kaggle``) to talk."""

from heartseg.errors import InputError


class TransientError(InputError):
    """Kaggle could not be reached, did not answer or had a fault of its own: a later attempt may go well."""
