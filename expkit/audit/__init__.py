"""What is probably wrong with the images of a data set and their labels, found on features that are computed once."""
