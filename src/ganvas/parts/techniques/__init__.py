"""What steadies a GAN: each technique is summed into a player's cost, built into its net, or done after its move.

A technique is a class of settings that overrides the hooks it needs; its first setting is the value of its flag. None
takes an optimiser step of its own: under Adam a term's weight would then mean next to nothing.
"""

from ganvas.parts.techniques.augment import AUGMENTATIONS, Augment, Mirror
from ganvas.parts.techniques.base import TECHNIQUES, Seen, Technique, Techniques, in_order, replace_modules
from ganvas.parts.techniques.fixes import (
    FeatureMatching,
    HistoricalAveraging,
    LabelSmoothing,
    MinibatchDiscrimination,
    VirtualBatchNorm,
    distance_to_history,
    feature_distance,
)
from ganvas.parts.techniques.slopes import R1, R2, Clip, GradientPenalty, SpectralNorm, input_gradient
from ganvas.parts.techniques.weights import EMA, Freeze, MovingAverage

__all__ = [
    "AUGMENTATIONS",
    "EMA",
    "R1",
    "R2",
    "TECHNIQUES",
    "Augment",
    "Clip",
    "FeatureMatching",
    "Freeze",
    "GradientPenalty",
    "HistoricalAveraging",
    "LabelSmoothing",
    "MinibatchDiscrimination",
    "Mirror",
    "MovingAverage",
    "Seen",
    "SpectralNorm",
    "Technique",
    "Techniques",
    "VirtualBatchNorm",
    "distance_to_history",
    "feature_distance",
    "in_order",
    "input_gradient",
    "replace_modules",
]
