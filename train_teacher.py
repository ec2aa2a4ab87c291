#!/usr/bin/env python3
"""Train a teacher, or a student alone, on CIFAR-100.

    python train_teacher.py --model resnet56
    python train_teacher.py --model resnet20 --trial 1,2,3 --mix mixup --no-pmixup      # Mix-T, three seeds at once

Checkpoints, tables and curves go to save/models/NAME, TensorBoard to save/tensorboard/NAME.
"""
import sys

from distiller_zoo import Vanilla
from helper import setup
from helper.errors import guard
from helper.options import parse_teacher
from helper.resume import stored_flags
from helper.rundir import teacher_name

FOLDERS = ("models", "tensorboard")


def main(argv=None):
    opt = parse_teacher(argv, lambda opt: stored_flags(opt, FOLDERS))
    device = setup.resolve_device(opt)
    claim = setup.Claim.look_up(opt, FOLDERS, teacher_name)
    if claim.finished():
        return
    data = setup.load_data(opt)
    setup.warn_of_size(opt, data, [opt.model])
    loader = setup.make_loader(opt, data, device)
    learners = setup.make_learners(opt, opt.model, data.num_classes, device, lambda seed: Vanilla(opt))
    setup.show(opt)
    claim.take(opt, learners, device)
    setup.run(opt, claim, learners, None, data, loader, device, opt.model, "teacher")


if __name__ == "__main__":
    sys.exit(guard(main))
