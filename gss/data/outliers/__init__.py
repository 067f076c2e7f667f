"""Unknown objects: cutting out, pasting, benchmarks."""
