"""Every random draw of a run is a function of the seed and of what it is for, never of what was drawn before.

So the order of epoch 7 or the crop of image 12 in it is the same on any number of workers and after any resume.
"""

from hashlib import blake2b


def seed_of(*parts: int | str) -> int:
    """Mix parts such as (seed, "order", epoch) into a seed in [0, 2^63), well spread for neighbouring numbers."""
    digest = blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
