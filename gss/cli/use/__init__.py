"""Commands that use a trained pipeline."""
