"""Pipelines on engines that others maintain."""
