"""How a sweep works: workers of a launcher, which pull trials from the study and train them."""
