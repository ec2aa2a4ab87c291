"""A short training of any method on noise, on the CPU, on CUDA or with graph_emulator."""
from argparse import Namespace

import torch

from dataset import DeviceLoader, MixSpec
from distiller_zoo import distiller_dict
from helper.fit import Fit
from helper.pair import pair_of
from helper.setup import make_engine
from models import model_dict
from tests.support.training import options, small_data, weights

CAPTURABLE = [name for name, method in distiller_dict.items() if not method.uncapturable]


class MethodRun:
    """From a resnet14 to a student, with short last batches (40 images in 16, 16, 8), a drop of the rate, both
    stages."""

    def __init__(self, name, step, seeds=(1,), device="cpu", model_s="resnet8", model_t="resnet14", **changes):
        self.kind, self.device = distiller_dict[name], device
        self.data = small_data(size=32 if device == "cuda" else 16)
        own = {flag: kwargs["default"] for flag, kwargs in self.kind.flags.items()}
        own |= {"nce_k": 8} if "nce_k" in own else {}
        own |= {flag: 4 for flag in own if flag.endswith("warmup")}  # still rising in the captured steps
        gamma, alpha, beta = self.kind.weights
        defaults = {"gamma": gamma, "alpha": alpha, "beta": beta, "rescale": self.kind.rescale, "learning_rate": 1e-3,
                    "lr_decay_epochs": [3], "init_epochs": 2 if self.kind.two_stage else 0, "epochs": 4,
                    "model_s": model_s, "trial": [str(seed) for seed in seeds]}
        self.opt = options(step=step, **{**own, **defaults, **changes})
        torch.manual_seed(7)
        self.teacher = model_dict[model_t](num_classes=5).eval().requires_grad_(False)
        pair = pair_of(model_dict[model_s](num_classes=5), self.teacher, self.data, self.kind)
        self.teacher.to(device)
        loader = DeviceLoader(self.data, 16, MixSpec("mixup"), device, torch.channels_last)
        self.fits = []
        for seed in seeds:
            opt = Namespace(**{**vars(self.opt), "trial": [str(seed)]})
            engine = make_engine(opt, model_s, 5, torch.device(device), lambda _: self.kind(self.opt, pair),
                                 self.teacher_output)
            self.fits.append(Fit(opt, engine, loader, None, {}))

    @torch.no_grad()
    def teacher_output(self, images):
        features, logits = self.teacher(images, is_feat=True, preact=self.kind.teacher_preact())
        return (features if self.kind.needs_features else []), logits

    def train(self):
        """All epochs, alternating between the runs; returns per run (weights and the method's state, sums of the last
        epoch)."""
        while not all(fit.done for fit in self.fits):
            for fit in self.fits:
                fit.begin_epoch()
            for row in zip(*(fit.batches(0) for fit in self.fits), strict=True):
                for fit, batch in zip(self.fits, row, strict=True):
                    fit.engine.step(batch)
            sums = [fit.engine.sums.cpu() for fit in self.fits]
            for fit in self.fits:
                fit.end_epoch({})
        return [(torch.cat([weights(fit.engine), *(value.double().cpu().reshape(-1)
                                                   for value in fit.engine.method.state_dict().values())]), total)
                for fit, total in zip(self.fits, sums, strict=True)]

    def state(self):
        """Every tensor that a step may change."""
        for engine in (fit.engine for fit in self.fits):
            for module in (engine.model, engine.method):
                yield from (*module.parameters(), *module.buffers())
            yield engine.sums
            for state in engine.optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, torch.Tensor))
