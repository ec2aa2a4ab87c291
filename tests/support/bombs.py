"""Pickles that would run code."""
import os


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, crater):
        self.crater = str(crater)

    def __reduce__(self):
        return os.mkdir, (self.crater,)
