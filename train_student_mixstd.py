#!/usr/bin/env python3
"""Distil a student from a teacher, by default with MIXSTD and partial mixup (MIX-KD, WACV 2023).

    python train_student_mixstd.py --path_t save/models/resnet56_vanilla/ckpt_epoch_240.pth --model_s resnet20
    python train_student_mixstd.py --path_t ... --model_s resnet20 --distill kd --mix cutmix --trial 1,2,3

Checkpoints, tables and curves go to save/student_model/NAME, TensorBoard to save/student_tensorboards/NAME.
"""
import sys
from dataclasses import replace

import torch

from distiller_zoo import DistillError, distiller_dict
from helper import ddp, setup, together
from helper.ddp import launch
from helper.device import resolve_device
from helper.evaluate import evaluate
from helper.known_teachers import origin_of, published_top1
from helper.options import apply_pair_settings, parse_student, show
from helper.pair import check_batches, pair_of, warn_of_size
from helper.teacher import Teacher, build, check_data, read_teacher
from models import any_model


def main(argv=None):
    together.train_trials(parse(argv), prepare)


def parse(argv=None):
    return parse_student(argv)


def prepare(opt, cache):
    """A run ready for its first step; its outcome where --resume finds it finished."""
    method = distiller_dict[opt.distill]
    device = resolve_device(opt, method.uncapturable)
    file = cache(("teacher's file", opt.path_t, opt.model_t), lambda: read_teacher(opt.path_t, opt.model_t))
    opt.model_t, opt.teacher_sha256 = file.arch, file.sha256
    apply_pair_settings(opt)
    opt.teacher_origin = origin_of(file.sha256, file.path)
    check_data(file, opt.dataset)
    run = setup.find_run(opt, cache)
    if run.finished:
        return setup.finished(run)
    data = setup.shared_data(opt, cache)
    warn_of_size(opt, data, [opt.model_t, opt.model_s])
    check_batches(opt, len(data.train), method)
    with torch.random.fork_rng(devices=[]):  # their initial weights are not used
        model_t = build(file, data.num_classes, data.classes)
        pair = pair_of(any_model[opt.model_s](num_classes=data.num_classes), model_t, data, method)
    if why := method.unsupported(opt, pair):
        raise DistillError(f"--distill {opt.distill} with {opt.model_t} and {opt.model_s}: {why}")
    cache("show", lambda: show(opt))
    ddp.check_shares(opt, len(data.train), 1 if method.compares_images else method.min_batch)
    teacher = shared_teacher(opt, method, model_t, file, data, device, cache)
    engine = setup.make_engine(opt, opt.model_s, data.num_classes, device,
                               lambda seed: method(opt, replace(pair, seed=seed)), teacher)
    return setup.make_fit(opt, engine, data, run, opt.model_s, "student", cache)


def shared_teacher(opt, method, model_t, file, data, device, cache):
    """The frozen teacher, its accuracy measured: one for all runs that read the same of it."""
    def measured():
        teacher = Teacher(model_t, opt, device, method.needs_features, method.teacher_preact())
        teacher.top1 = report_teacher(teacher, file, opt, data, setup.test_batches(opt, data, device, cache))
        return teacher
    return cache(("teacher", file.sha256, setup.data_key(opt), str(device), method.needs_features,
                  method.teacher_preact(), opt.precision, opt.teacher_precision, opt.kernels), measured)


def report_teacher(teacher, file, opt, data, test):
    """The teacher's top-1 on the validation images, per cent, printed with its origin beside the one published for it;
    a point off is a warning.

    Of weights that known_teachers.json lists that is their own zoo's figure, of others RepDistiller's; of a distilled
    network none is published.
    """
    print(f"teacher origin: {opt.teacher_origin}")
    found = evaluate(lambda images: teacher(images)[1], test()).top1
    published = published_top1(file, data)
    if published is None or opt.holdout:
        print(f"teacher accuracy: {found:.2f}" + (" on the hold-out images" if opt.holdout else ""))
        return found
    print(f"teacher accuracy: {found:.2f} (published {published:.2f})")
    if abs(found - published) > 1:
        print(f"WARNING the teacher is {found - published:+.2f} points off the published {opt.model_t}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(launch(main))
