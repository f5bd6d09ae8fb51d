"""Data sets in memory, and the examples of a request prepared for the network."""

from landscape_core.compute.datasets.preparation import Batches, prepare
from landscape_core.compute.datasets.sources import Examples, load_dataset

__all__ = ["Batches", "Examples", "load_dataset", "prepare"]
