"""Independent float64 computations that the tests compare with; nothing of the implementation is used in them."""
