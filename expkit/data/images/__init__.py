"""Images in files: their formats, how their pixels are read, and whether they can be."""
