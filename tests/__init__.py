"""The tests; run them with bash scripts/test.sh."""
