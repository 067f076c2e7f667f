"""Unknown objects: cut out, pasted into images, and benchmarks with labelled outliers."""
