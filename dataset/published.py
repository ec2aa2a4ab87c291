"""Published accuracies: published.json has all of them, for tables, checks of teachers and tests.

{data set: {key: {source: where it was published, alone: {network: top-1}, methods: {name: {"teacher > student":
top-1}}}}}, all in per cent, on the official test images, of the last epoch unless the source says otherwise.
"""
import json
from functools import cache
from pathlib import Path


@cache
def published_figures(name):
    """What is published for the data set ``name``: key -> {source, alone, methods}; empty for another one."""
    return json.loads(Path(__file__).with_name("published.json").read_text()).get(name, {})


def alone(name):
    """Network -> published top-1 (%) of networks trained alone on the data set ``name``."""
    return {network: top1 for entry in published_figures(name).values() for network, top1 in entry["alone"].items()}
