"""What exists: architectures, data sets, preprocessings; what fits a checkpoint, and what a request may ask. No torch."""

from landscape_core.catalogue.affine_chains import AffineLayer, affine_layers
from landscape_core.catalogue.checks import check_companion, check_data, check_request
from landscape_core.catalogue.comparison import Comparison
from landscape_core.catalogue.data import (
    DatasetEntry,
    DatasetFacts,
    available_datasets,
    class_names,
    dataset_entry,
    datasets,
    facts,
    split_files,
)
from landscape_core.catalogue.family import ArchitectureEntry, Candidate
from landscape_core.catalogue.idx import read_idx
from landscape_core.catalogue.matching import explain_no_match, fit, macs_per_example, match, nearest
from landscape_core.catalogue.networks import architectures, canonical, resolve
from landscape_core.catalogue.plane_checks import check_plane
from landscape_core.catalogue.preprocessing import preprocessings, standardisation

__all__ = [
    "AffineLayer",
    "ArchitectureEntry",
    "Candidate",
    "Comparison",
    "DatasetEntry",
    "DatasetFacts",
    "affine_layers",
    "architectures",
    "available_datasets",
    "canonical",
    "check_companion",
    "check_data",
    "check_plane",
    "check_request",
    "class_names",
    "dataset_entry",
    "datasets",
    "explain_no_match",
    "facts",
    "fit",
    "macs_per_example",
    "match",
    "nearest",
    "preprocessings",
    "read_idx",
    "resolve",
    "split_files",
    "standardisation",
]
