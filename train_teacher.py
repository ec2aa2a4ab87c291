#!/usr/bin/env python3
"""Train a teacher, or a student alone, on CIFAR-100.

    python train_teacher.py --model resnet56
    python train_teacher.py --model resnet20 --trial 1,2,3 --mix mixup --no-pmixup      # Mix-T, three seeds at once

Checkpoints, tables and curves go to save/models/NAME, TensorBoard to save/tensorboard/NAME.
"""
import sys

from distiller_zoo import Vanilla
from helper import distributed, loops
from helper.device import resolve_device
from helper.distributed import launch
from helper.learner import make_learners
from helper.options import data_of, loader_of, parse_teacher, show
from helper.pair import warn_of_size
from helper.resume import Claim, stored_flags
from helper.rundir import teacher_name

FOLDERS = ("models", "tensorboard")


def main(argv=None):
    opt = parse_teacher(argv, lambda opt: stored_flags(opt, FOLDERS))
    device = resolve_device(opt)
    claim = Claim.look_up(opt, FOLDERS, teacher_name)
    if claim.finished():
        return
    data = data_of(opt)
    warn_of_size(opt, data, [opt.model])
    loader = loader_of(opt, data, device)
    learners = make_learners(opt, opt.model, data.num_classes, device, lambda seed: Vanilla(opt))
    show(opt)
    distributed.check_shares(opt, len(data.train), 1)
    claim.take(opt, learners, device)
    loops.train(opt, claim, learners, None, data, loader, device, opt.model, "teacher")


if __name__ == "__main__":
    sys.exit(launch(main))
