"""Writes docs/reference from the models and the code: `python -m docs.generate`."""
