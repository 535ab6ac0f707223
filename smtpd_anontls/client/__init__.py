"""The sender's side: a small SMTP client that upgrades by either TLS verb, probes, and tunnels."""
