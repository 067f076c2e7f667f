"""From weak labels to a measured pipeline in one job."""
