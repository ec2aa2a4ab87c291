"""CUDA kernels of our own, put into a network by :func:`norms_by_triton`. Networks do not depend on them.

A variant of scripts/bench/device.py, which no command trains with until a device has measured it.
"""
from .norm import norms_by_triton

__all__ = ["norms_by_triton"]
