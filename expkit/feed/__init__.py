"""What a phase reads: batches of images, decoded by workers, or of features that were computed once."""
