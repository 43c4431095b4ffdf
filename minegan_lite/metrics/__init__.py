"""How good are the samples? Features (the networks) apart from distances (the formulas); `evaluate` joins them."""

from minegan_lite.metrics.distances import copying, coverage, frechet_distance, nearest
from minegan_lite.metrics.evaluation import evaluate, format_report
from minegan_lite.metrics.features import classifier_error, digit_features, digit_shares, signature

__all__ = [
    "classifier_error",
    "copying",
    "coverage",
    "digit_features",
    "digit_shares",
    "evaluate",
    "format_report",
    "frechet_distance",
    "nearest",
    "signature",
]
