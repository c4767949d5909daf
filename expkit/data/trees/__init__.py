"""Trees of folders that hold images: what their folders mean, and what is doubtful or left out in them."""
