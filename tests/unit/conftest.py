"""Hypothesis without deadlines: a busy machine is not a failure."""

from hypothesis import settings

settings.register_profile("kerneldefs", deadline=None)
settings.load_profile("kerneldefs")
