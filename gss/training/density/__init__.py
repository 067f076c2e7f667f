"""The density head: mixtures of features."""
