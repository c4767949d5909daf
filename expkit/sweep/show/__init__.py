"""What a sweep shows: a line while it runs; tables, pictures and the config of its best trial at the end."""
