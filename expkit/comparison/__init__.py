"""Runs side by side: what differs in configs, scores and what they say of each image, and whether it is chance."""
