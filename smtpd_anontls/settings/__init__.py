"""The configuration: YAML to frozen values, every mistake named, edits that keep its comments."""
