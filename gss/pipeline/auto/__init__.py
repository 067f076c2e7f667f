"""A pipeline behind the auto classes and `transformers.pipeline`."""
