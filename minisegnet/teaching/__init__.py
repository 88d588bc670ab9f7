"""For learning and teaching: checking the gradients of operations, layers, losses and networks."""

from minisegnet.teaching.gradient_check import check_graph, check_layer, check_loss, check_operation
from minisegnet.teaching.gradient_report import GradientError, Report

__all__ = ["GradientError", "Report", "check_graph", "check_layer", "check_loss", "check_operation"]
