"""Numbers in words."""

from expkit.words import many


def test_a_count_of_one_has_the_singular():
    assert [many(count, "row is", "rows are") for count in (0, 1, 2)] == ["0 rows are", "1 row is", "2 rows are"]
