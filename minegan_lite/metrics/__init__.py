"""How good are the samples? Features (the networks) apart from distances (the formulas).

`measure` states any distance with its floor and an interval; `evaluate` is the report of a mined generator. A measure
of two sets takes (real, fake); one that asks whom images are near takes the images first, then those it looks among.
"""

from minegan_lite.metrics.checks import FewRows, UnsignedImages
from minegan_lite.metrics.distances import (
    copying,
    frechet_distance,
    intra_cluster_distance,
    mean_variance,
    nearest,
    training_ratio,
)
from minegan_lite.metrics.evaluation import evaluate, format_report
from minegan_lite.metrics.features import classifier_error, digit_features, digit_shares, features_of, signature
from minegan_lite.metrics.inception import fid_inception, torchvision_inception
from minegan_lite.metrics.kernels import kid, kmmd, kmmd_squared, permutation_p_value
from minegan_lite.metrics.measurement import Measurement, measure
from minegan_lite.metrics.neighbours import coverage, density, neighbour_accuracy, precision, recall
from minegan_lite.metrics.pictures import lite0

__all__ = [
    "FewRows",
    "Measurement",
    "UnsignedImages",
    "classifier_error",
    "copying",
    "coverage",
    "density",
    "digit_features",
    "digit_shares",
    "evaluate",
    "features_of",
    "fid_inception",
    "format_report",
    "frechet_distance",
    "intra_cluster_distance",
    "kid",
    "kmmd",
    "kmmd_squared",
    "lite0",
    "mean_variance",
    "measure",
    "nearest",
    "neighbour_accuracy",
    "permutation_p_value",
    "precision",
    "recall",
    "signature",
    "torchvision_inception",
    "training_ratio",
]
