"""What stands behind `python -m expkit` before a run has a folder: arguments, and care for what lies there."""
