"""The fault drill: python -m tests.faults."""
