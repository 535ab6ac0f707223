"""The load generator: plain sockets and epoll, cheap enough that the server is what is measured."""
