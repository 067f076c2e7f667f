"""Commands that measure a pipeline, a posterior or several of them."""
