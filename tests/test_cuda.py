"""The step on CUDA: graph compared with eager, several seeds with each alone, no synchronisation."""
import pytest
import torch

import train_student_mixstd
import train_teacher
from dataset import DeviceLoader, MixSpec
from helper.engine import Engine
from tests.support.method_runs import CAPTURABLE, MethodRun
from tests.support.small_runs import DATA, call
from tests.support.training import options, small_data, small_engine, small_teacher, train, weights

RESCALE = {"kd": "none", "mixstd": "std", None: "none"}
cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture
def ieee():
    """TF32 off and deterministic algorithms, so that results differ only by rounding."""
    from helper.device import set_precision
    set_precision("fp32", torch.device("cuda"))
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    yield
    torch.backends.cudnn.deterministic = False
    set_precision("tf32", torch.device("cuda"))


def cuda_engine(opt, seed=1, name="mixstd") -> Engine:
    return small_engine(opt, seed, name, device="cuda")


@pytest.mark.parametrize("name", RESCALE)
class TestCuda:
    pytestmark = cuda

    def test_graph_equals_eager_after_50_steps(self, ieee, name):
        """Over short last batches (40 images in 16, 16, 8) and a learning-rate drop."""
        results = {}
        for step in ("eager", "graph"):
            opt = options(step=step, rescale=RESCALE[name], lr_decay_epochs=[5, 10], learning_rate=0.01)
            engine = cuda_engine(opt, name=name)
            train(engine, opt, steps=50, device="cuda", teacher=small_teacher("cuda"))
            results[step] = weights(engine), engine.sums.cpu()
        torch.testing.assert_close(results["graph"][0], results["eager"][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(results["graph"][1], results["eager"][1], rtol=1e-3, atol=1e-3)

    def test_no_host_sync_between_printed_lines(self, name):
        for step in ("eager", "graph"):
            opt = options(step=step, rescale=RESCALE[name])
            engine = cuda_engine(opt, name=name)
            teacher = small_teacher("cuda")
            train(engine, opt, steps=6, device="cuda", teacher=teacher)  # captures, cuDNN's search
            loader = DeviceLoader(small_data(), 16, MixSpec("mixup"), "cuda", torch.channels_last)
            for epoch in (1, 2):
                for batch in loader.epoch(1, epoch):
                    engine.step(batch)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for epoch in (3, 4):
                    for batch in loader.epoch(1, epoch):
                        engine.step(batch)
            finally:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", CAPTURABLE)
class TestCudaZoo:
    pytestmark = cuda

    def test_every_capturable_method_captures(self, ieee, name):
        """Weights and the method's state match the eager run, in the first stage too."""
        (eager, _), = MethodRun(name, "eager", device="cuda", learning_rate=1e-4).train()
        (graph, sums), = MethodRun(name, "graph", device="cuda", learning_rate=1e-4).train()
        torch.testing.assert_close(graph, eager, rtol=1e-3, atol=1e-4)
        assert torch.isfinite(sums).all()

    def test_seeds_together_with_features(self, ieee, name):
        together = MethodRun(name, "graph", seeds=(1, 2), device="cuda", learning_rate=1e-4).train()
        for seed, (result, _) in zip((1, 2), together, strict=True):
            (alone, _), = MethodRun(name, "graph", seeds=(seed,), device="cuda", learning_rate=1e-4).train()
            torch.testing.assert_close(result, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", [["mixstd"], ["crd", "--nce_k", 8], ["factor", "--init_epochs", 2], ["kdsvd"]],
                         ids=lambda method: method[0])
class TestCudaScripts:
    pytestmark = cuda

    def test_both_scripts_train_and_resume(self, method, tmp_path):
        common = ["--save_dir", tmp_path, "--device", "cuda", "--lr_decay_epochs", 2]
        done = call(train_teacher.main, [*DATA["teacher"], *common, "--epochs", 1])
        assert done.status == 0, done.err
        teacher, = (tmp_path / "models").glob("*/resnet8_last.pth")
        for epochs in (3, 4):  # captures and a drop of the rate; then resumed from the checkpoint
            done = call(train_student_mixstd.main, [*DATA["student"], *common, "--path_t", teacher, "--trial", "1,2",
                                                    "--distill", *method, "--epochs", epochs, "--resume", "auto"])
            assert done.status == 0, done.err
