"""The sender's side: a small SMTP client that upgrades by either TLS verb, authenticates, sends, probes, and tunnels."""
