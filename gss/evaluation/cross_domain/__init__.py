"""Pipelines on data sets they were not trained on."""
