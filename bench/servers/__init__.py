"""The servers that are measured: the receiver in its variants, and its peers."""
