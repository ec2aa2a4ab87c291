#!/usr/bin/env python3
"""Train a teacher, or a student alone, on CIFAR-100.

    python train_teacher.py --model resnet56
    python train_teacher.py --model resnet20 --trial 1,2,3 --mix mixup --no-pmixup      # Mix-T, three seeds at once

Checkpoints, tables and curves go to save/models/NAME, TensorBoard to save/tensorboard/NAME.
"""
import sys

from distiller_zoo import Vanilla
from helper import ddp, setup, together
from helper.ddp import launch
from helper.device import resolve_device
from helper.options import parse_teacher, show
from helper.pair import warn_of_size


def main(argv=None):
    together.train_trials(parse(argv), prepare)


def parse(argv=None):
    return parse_teacher(argv)


def prepare(opt, cache):
    """A run ready for its first step; its outcome where --resume finds it finished."""
    device = resolve_device(opt)
    run = setup.find_run(opt, cache)
    if run.finished:
        return setup.finished(run)
    data = setup.shared_data(opt, cache)
    warn_of_size(opt, data, [opt.model])
    engine = setup.make_engine(opt, opt.model, data.num_classes, device, lambda seed: Vanilla(opt))
    cache("show", lambda: show(opt))
    ddp.check_shares(opt, len(data.train), 1)
    return setup.make_fit(opt, engine, data, run, opt.model, "teacher", cache)


if __name__ == "__main__":
    sys.exit(launch(main))
