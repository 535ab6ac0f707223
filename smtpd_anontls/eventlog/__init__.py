"""The Application log: every event, written where an operator looks."""
