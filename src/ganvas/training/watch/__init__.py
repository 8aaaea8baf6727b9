"""The watch: measures a model as it trains, and names what is wrong with the run, with the evidence and the remedy."""

from ganvas.training.finding import Finding
from ganvas.training.watch.faults import DIVERGED, FAULTS, VITALS, findings
from ganvas.training.watch.measure import Probe, probe, vitals
from ganvas.training.watch.watch import Watch, examine

__all__ = ["DIVERGED", "FAULTS", "VITALS", "Finding", "Probe", "Watch", "examine", "findings", "probe", "vitals"]
