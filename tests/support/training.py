"""An engine, a teacher, data and a few steps of training, without a command line."""
from argparse import Namespace
from dataclasses import replace

import torch

from dataset import Batch, Data, DeviceLoader, MixSpec, Split
from distiller_zoo import Pair, Vanilla, distiller_dict
from helper.recipe import learning_rate_at
from helper.setup import make_engine
from models import model_dict


def small_data(n=40, classes=5, size=8):
    generator = torch.Generator().manual_seed(0)

    def split(count):
        images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
        return Split(images, torch.arange(count) % classes)
    return Data("noise", classes, (0.5,) * 3, (0.25,) * 3, 2, True, split(n), split(20))


def make_batch(seed, n=4):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 5, (n,), generator=generator)
    return Batch(images, torch.eye(5)[labels], labels, labels + 7 * seed, labels > 2, len(labels))


def options(**changes):
    return Namespace(**{
        "gamma": 0.1, "alpha": 0.9, "beta": 0.0, "kd_T": 4.0, "rescale": "none", "learning_rate": 0.05,
        "lr_decay_epochs": [1], "lr_decay_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 16,
        "epochs": 2, "init_epochs": 0, "on_nan": "stop", "precision": "fp32", "step": "eager", "kernels": "torch",
        "label_smoothing": 0.0, "trial": ["1"], **changes})


def small_engine(opt, seed=1, name="kd", dtype=torch.float32, device="cpu"):
    data = small_data()
    shapes = [torch.Size((2, 3))]
    opt = Namespace(**{**vars(opt), "trial": [str(seed)]})
    engine = make_engine(opt, "resnet8", data.num_classes, torch.device(device),
                         lambda s: distiller_dict[name](opt, Pair(shapes, shapes, 40, 5)) if name else Vanilla(opt))
    if dtype != torch.float32:
        engine.model.to(dtype)
    return engine


def small_teacher(device="cpu", dtype=torch.float32):
    torch.manual_seed(7)
    net = model_dict["resnet14"](num_classes=5).eval().requires_grad_(False).to(device, dtype)
    return lambda images: ([], net(images))


def train(engine, opt, steps=6, device="cpu", dtype=torch.float32, teacher=None, seed=1):
    """Train ``steps`` steps on the epochs of a seed; returns the loader."""
    loader = DeviceLoader(small_data(), opt.batch_size, MixSpec("mixup"), device, torch.channels_last)
    engine.teacher, done = teacher or small_teacher(device, dtype), 0
    for epoch in range(1, 1000):
        engine.set_rate(learning_rate_at(epoch, opt))
        engine.sums.zero_()
        for batch in loader.epoch(seed, epoch):
            engine.step(replace(batch, images=batch.images.to(dtype)))
            done += 1
            if done == steps:
                return loader
    raise AssertionError("unreachable")


def weights(engine):
    return torch.cat([value.detach().double().cpu().reshape(-1) for value in engine.model.state_dict().values()])
