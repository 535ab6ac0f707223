"""A real server's ``Export-Clixml`` dumps as values: nothing is written here, and nothing guessed."""
