"""Tables that list images: their bytes and columns, guessed where not told, and the paths and rows in them."""
