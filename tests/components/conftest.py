"""Fixtures of the component tests; ``tests.lab`` says how to run a receiver with them."""

from tests.lab import lab, pki

__all__ = ["lab", "pki"]
