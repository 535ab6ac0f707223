"""The HTTP API beside a running receiver, its health and its metrics.

The modules with FastAPI's routes and pydantic's models do without ``from __future__ import
annotations``: both read the annotations when they are imported.
"""
