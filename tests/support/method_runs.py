"""A short training of any method on noise, on the CPU, on CUDA or on graph_emulator's stand-in."""
import torch

from dataset import DeviceLoader, MixSpec
from distiller_zoo import distiller_dict
from helper.learner import make_learners
from helper.pair import pair_of
from helper.step import Trainer
from models import model_dict
from tests.support.training import options, small_data, weights

CAPTURABLE = [name for name, method in distiller_dict.items() if not method.uncapturable]


class MethodRun:
    """resnet14 to a student, over short last batches (40 images in 16, 16, 8), a drop of the rate, both stages."""

    def __init__(self, name, step, seeds=(1,), device="cpu", model_s="resnet8", model_t="resnet14", **changes):
        self.kind, self.data, self.device = distiller_dict[name], small_data(size=32), device
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
        self.learners = make_learners(self.opt, model_s, 5, torch.device(device),
                                      lambda seed: self.kind(self.opt, pair))
        self.teacher.to(device)

    @torch.no_grad()
    def ask(self, images):
        return self.teacher(images, is_feat=True, preact=self.kind.teacher_preact())

    def train(self, device=None):
        """All epochs; returns weights, the method's state and the last epoch's sums of every learner, on the CPU."""
        trainer = Trainer(self.opt, self.ask, self.learners, device or torch.device(self.device))
        loader = DeviceLoader(self.data, 16, MixSpec("mixup"), self.device, torch.channels_last)
        while not all(learner.done for learner in self.learners):
            for learner in self.learners:
                learner.begin_epoch()
            for row in zip(*(trainer.batches(loader, one, 0, 0) for one in self.learners), strict=True):
                trainer.step(self.learners, row)
            sums = [learner.sums.cpu() for learner in self.learners]
            for learner in self.learners:
                learner.end_epoch({})
        return [(torch.cat([weights(learner), *(value.double().cpu().reshape(-1)
                                                for value in learner.method.state_dict().values())]), total)
                for learner, total in zip(self.learners, sums, strict=True)]

    def state(self):
        """Every tensor that a step may change."""
        for learner in self.learners:
            for module in (learner.model, learner.method):
                yield from (*module.parameters(), *module.buffers())
            yield learner.sums
            for state in learner.optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, torch.Tensor))
