"""The quickstart: train and measure all stages, one report."""
