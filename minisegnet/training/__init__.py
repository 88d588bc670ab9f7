"""Training: optimisers, schedules, the loop, its checkpoints and pictures."""

from minisegnet.training.checkpoint import load_checkpoint, save_checkpoint
from minisegnet.training.detector_trainer import DetectorTrainer
from minisegnet.training.evaluation import evaluate, predictions
from minisegnet.training.loop import TrainingLoop, load_model
from minisegnet.training.optimisers import SGD, Adam, AdamW
from minisegnet.training.pictures import draw_curves, draw_panel
from minisegnet.training.schedules import Constant, Cosine, Poly, Step, WarmUp
from minisegnet.training.trainer import Trainer

__all__ = [
    "SGD", "Adam", "AdamW", "Constant", "Cosine", "DetectorTrainer", "Poly", "Step", "Trainer", "TrainingLoop",
    "WarmUp", "draw_curves", "draw_panel", "evaluate", "load_checkpoint", "load_model", "predictions",
    "save_checkpoint",
]  # fmt: skip
