"""What a person looks at after a run: pictures with examples, and a page with all of it."""
