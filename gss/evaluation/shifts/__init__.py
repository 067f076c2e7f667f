"""Pipelines under noise, blur, compression, light and weather."""
