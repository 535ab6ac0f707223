"""The heart: which certificate a session gets, and why.

Theory of operation.  A selection is a procedure from a document.  It reads like that document:
one step a paragraph, in the document's order, each leaving one sentence.  It asks the world
through two ports only, the directory and the local computer store, and only when a step needs
them.  What it returns, the ``Selection``, is everything that anyone ever learns about the
decision: EHLO advertises from it, the upgrade loads from it, and the command line, the log, the
record and the tests show it.
"""
