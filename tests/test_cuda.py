"""The step on CUDA: the graph against eager, seeds together against each alone, no wait for the device."""
import pytest
import torch
from test_training import a_learner, a_teacher, options, small_data, train, weights

from dataset import DeviceLoader, MixSpec
from distiller_zoo import distiller_dict
from helper.learner import Learner
from helper.setup import make_learners, pair_of
from helper.trainer import Trainer
from models import model_dict

cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture
def ieee():
    """TF32 off, so that two ways to compute differ by rounding alone."""
    from helper.device import set_precision
    set_precision("fp32", torch.device("cuda"))
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    yield
    torch.backends.cudnn.deterministic = False
    set_precision("tf32", torch.device("cuda"))


def cuda_learner(opt, seed=1, name="mixstd") -> Learner:
    return a_learner(opt, seed, name, device="cuda")


@pytest.mark.parametrize("name", ["kd", "mixstd", None])
class TestCuda:
    pytestmark = cuda

    def test_graph_equals_eager_after_50_steps(self, ieee, name):
        """Over short last batches (40 images in 16, 16, 8) and a learning-rate drop."""
        results = {}
        for step in ("eager", "graph"):
            opt = options(step=step, lr_decay_epochs=[5, 10], learning_rate=0.01)
            learner = cuda_learner(opt, name=name)
            train([learner], opt, steps=50, device="cuda", teacher=a_teacher("cuda"))
            results[step] = weights(learner), learner.sums.cpu()
        torch.testing.assert_close(results["graph"][0], results["eager"][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(results["graph"][1], results["eager"][1], rtol=1e-3, atol=1e-3)

    def test_seeds_together_equal_each_alone(self, ieee, name):
        for step in ("eager", "graph"):
            opt = options(step=step, learning_rate=0.01)
            together = [cuda_learner(opt, seed, name) for seed in (1, 2, 3)]
            train(together, opt, steps=30, device="cuda", teacher=a_teacher("cuda"))
            for seed, learner in zip((1, 2, 3), together, strict=True):
                alone = cuda_learner(opt, seed, name)
                train([alone], opt, steps=30, device="cuda", teacher=a_teacher("cuda"))
                torch.testing.assert_close(weights(learner), weights(alone), rtol=1e-4, atol=1e-4)

    def test_no_host_sync_between_printed_lines(self, name):
        for step in ("eager", "graph"):
            opt = options(step=step)
            learner = cuda_learner(opt, name=name)
            teacher = a_teacher("cuda")
            train([learner], opt, steps=6, device="cuda", teacher=teacher)  # captures, cuDNN's search
            loader = DeviceLoader(small_data(), 16, MixSpec("mixup"), "cuda", torch.channels_last)
            trainer = Trainer(opt, teacher, [learner], torch.device("cuda"))
            for epoch in (1, 2):
                for row in zip(loader.epoch(1, epoch), strict=True):
                    trainer.step([learner], row)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for epoch in (3, 4):
                    for row in zip(loader.epoch(1, epoch), strict=True):
                        trainer.step([learner], row)
            finally:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", [n for n, m in distiller_dict.items() if not m.uncapturable])
class TestCudaZoo:
    pytestmark = cuda

    def test_every_capturable_method_captures(self, ieee, name):
        """resnet14 to resnet8 on noise: a graphed run follows the eager one."""
        data, kind, results = small_data(size=32), distiller_dict[name], {}
        for step in ("eager", "graph"):
            own = {flag: kwargs["default"] for flag, kwargs in kind.flags.items()}
            own |= {"nce_k": 8} if "nce_k" in own else {}
            gamma, alpha, beta = kind.weights
            opt = options(step=step, gamma=gamma, alpha=alpha, beta=beta, rescale=kind.rescale, learning_rate=1e-4,
                          **own)
            torch.manual_seed(7)
            teacher = model_dict["resnet14"](num_classes=5).eval().requires_grad_(False)
            pair = pair_of(model_dict["resnet8"](num_classes=5), teacher, data, kind)
            learner, = make_learners(opt, "resnet8", 5, torch.device("cuda"), lambda seed, o=opt, p=pair: kind(o, p))
            teacher.cuda()

            def ask(images, net=teacher):
                with torch.no_grad():
                    return net(images, is_feat=True, preact=kind.teacher_preact())
            loader = DeviceLoader(data, 16, MixSpec("mixup"), "cuda", torch.channels_last)
            trainer = Trainer(opt, ask, [learner], torch.device("cuda"))
            for epoch in range(1, 5):
                learner.epoch = epoch - 1
                learner.begin_epoch()
                for row in zip(loader.epoch(1, epoch), strict=True):
                    trainer.step([learner], row)
            results[step] = weights(learner), learner.sums.cpu()
        torch.testing.assert_close(results["graph"][0], results["eager"][0], rtol=1e-3, atol=1e-4)
        assert torch.isfinite(results["graph"][1]).all()
