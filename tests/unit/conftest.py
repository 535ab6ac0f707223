"""Settings of the property tests: no example is judged by how long it took."""

from hypothesis import settings

settings.register_profile("pure", deadline=None)
settings.load_profile("pure")
