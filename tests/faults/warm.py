"""Imports what data, optimiser and curves.png need: 5 s that every training process would otherwise spend.

The server imports it from which training processes are forked. It computes nothing that would start a thread.
"""
import io

import torch
import torchvision  # noqa: F401
from matplotlib.figure import Figure

import dataset
import train_student_mixstd  # noqa: F401
import train_teacher  # noqa: F401

torch.set_num_threads(1)  # a process to fork from must have one thread
dataset.load("digits", "")
torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
_figure = Figure(layout="constrained")
_figure.subplots().plot([0, 1], label="a")
_figure.legend()
_figure.savefig(io.BytesIO(), format="png")
