"""The histogram of timings: what its percentiles say, also when its counts are full."""

from histogram import Histogram


def test_percentiles_are_the_upper_edges_of_their_buckets():
    histogram = Histogram(0, 10, 20)
    for value in range(100):
        histogram.add(value)
    assert (histogram.percentile(50), histogram.percentile(99), histogram.largest) == (59, 99, 99)


def test_what_lies_outside_lands_at_the_ends():
    histogram = Histogram(0, 10, 4)
    for value in (-500, 5, 5000):
        histogram.add(value)
    assert list(histogram.counts) == [2, 0, 0, 1] and histogram.largest == 5000


def test_a_full_bucket_halves_all_and_the_percentiles_stay():
    histogram = Histogram(0, 1, 4)
    histogram.counts[1] = 65535
    histogram.counts[3] = 800
    histogram.largest = 3
    assert (histogram.percentile(50), histogram.percentile(99)) == (1, 3)
    for value in (1, 1, 3):
        histogram.add(value)
    assert list(histogram.counts) == [0, 32769, 0, 401]
    assert (histogram.percentile(50), histogram.percentile(99)) == (1, 3)
