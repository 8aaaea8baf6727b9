"""Measures of a trained model: of its loss, and of its samples.

`features`, `memorising` and `parzen` are imported from the files that they name.
"""

from ganvas.evaluate.average import average
from ganvas.evaluate.classifier import Classifier, train_classifier
from ganvas.evaluate.codes import write_codes
from ganvas.evaluate.coverage import density_coverage, precision_recall
from ganvas.evaluate.frechet import frechet_distance
from ganvas.evaluate.modes import captured_classes, captured_modes, stacked_labels
from ganvas.evaluate.pictures import psnr, sharpness

__all__ = [
    "Classifier",
    "average",
    "captured_classes",
    "captured_modes",
    "density_coverage",
    "frechet_distance",
    "precision_recall",
    "psnr",
    "sharpness",
    "stacked_labels",
    "train_classifier",
    "write_codes",
]
