"""Measures of a trained model: of its loss, and of its samples.

`features`, `memorising` and `parzen` are imported from the files that they name.
"""

from ganvas.evaluate.anomaly.anomalies import Scored, score
from ganvas.evaluate.average import average
from ganvas.evaluate.codes import write_codes
from ganvas.evaluate.measures.coverage import density_coverage, precision_recall
from ganvas.evaluate.measures.frechet import frechet_distance
from ganvas.evaluate.measures.kernel import kernel_distance
from ganvas.evaluate.measures.modes import captured_classes, captured_modes, stacked_labels
from ganvas.evaluate.measures.pictures import psnr, sharpness
from ganvas.evaluate.measures.probes import k_nearest, linear_probe
from ganvas.evaluate.measures.roc import auroc
from ganvas.evaluate.measures.two_sample import two_sample_test
from ganvas.evaluate.networks.classifier import Classifier, train_classifier

__all__ = [
    "Classifier",
    "Scored",
    "auroc",
    "average",
    "captured_classes",
    "captured_modes",
    "density_coverage",
    "frechet_distance",
    "k_nearest",
    "kernel_distance",
    "linear_probe",
    "precision_recall",
    "psnr",
    "score",
    "sharpness",
    "stacked_labels",
    "train_classifier",
    "two_sample_test",
    "write_codes",
]
