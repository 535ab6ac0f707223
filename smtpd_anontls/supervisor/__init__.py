"""One receiver in several processes: workers that serve, and one supervisor that has what must be one of a kind.

The supervisor has the listening sockets, the configuration, the logs and the page, and starts the workers.
A worker has sessions and a writer of the journal; what it tells goes over a socket pair that ends with either
of them, so that neither outlives the other unnoticed.
"""
