"""Commands of `gss data`."""
