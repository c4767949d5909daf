"""What was trained, ready to use: a run's model with its transform, classes and precision, and nothing of its data."""
