"""The local computer store: what a folder of certificates holds, now, and TLS contexts made from it.

Private keys never leave this room.
"""
