"""Independent float64 references for the tests; they use nothing of the implementation."""
