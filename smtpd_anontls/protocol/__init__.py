"""SMTP without sockets: replies, addresses, parameters, the order of commands, and bodies."""
