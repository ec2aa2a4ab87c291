"""Small data, short runs, an emulator: what several test files share."""
