"""Stage 2: the latent prior and its twin."""
