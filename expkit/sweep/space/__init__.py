"""What a sweep searches: its settings and space, read, checked, and made into configs of trials."""
