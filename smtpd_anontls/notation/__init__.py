"""YAML as the configuration and the embedded directory are written in: read strictly, edited gently."""
