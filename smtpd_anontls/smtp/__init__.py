"""The wire on sockets: listeners, sessions, and the upgrade to TLS."""
