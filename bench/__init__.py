"""Measurements, beside the tests: what a receiver costs, and beside what."""
