"""Training: the loop, the step, where a run stands, and the engine of a whole graph.

The engines of batches and of several processes are in `portgnn.loaders` and `portgnn.distributed`.
"""

from portgnn.training.batches import BatchSteps
from portgnn.training.course import Course, Fit, NonFiniteLossError, Progress
from portgnn.training.engine import Described, Engine, Epochs, Problem
from portgnn.training.history import History
from portgnn.training.loop import Checkpointer, fit
from portgnn.training.state import join_state, parameters_of, split_state
from portgnn.training.step import (
    initial_state,
    make_loss,
    make_measure,
    make_optimizer,
    make_step,
    scheduled,
    validated,
)
from portgnn.training.whole import VALIDATED, WholeGraph, logits, make_run

__all__ = [
    "VALIDATED",
    "BatchSteps",
    "Checkpointer",
    "Course",
    "Described",
    "Engine",
    "Epochs",
    "Fit",
    "History",
    "NonFiniteLossError",
    "Problem",
    "Progress",
    "WholeGraph",
    "fit",
    "initial_state",
    "join_state",
    "logits",
    "make_loss",
    "make_measure",
    "make_optimizer",
    "make_run",
    "make_step",
    "parameters_of",
    "scheduled",
    "split_state",
    "validated",
]
