"""What a configuration means for whoever runs the server: pure judgements on values that others have read."""
