"""Networks: image to features, tokens and class logits."""
