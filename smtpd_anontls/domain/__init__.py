"""What things are: values and rules that need no clock, socket, file or log."""
