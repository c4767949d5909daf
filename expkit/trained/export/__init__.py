"""A trained model as a folder that works without expkit: weights or a graph, classes, how images are read, a card."""
