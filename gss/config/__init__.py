"""Settings as dataclasses, read from and written to YAML."""
