"""Fixtures of the page's tests."""

from tests.lab import lab, pki

__all__ = ["lab", "pki"]
