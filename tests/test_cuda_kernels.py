"""Batch norms in Triton compared with float64: on CUDA the kernels; on the CPU their counterparts in torch, and in a
subprocess the kernels in Triton's interpreter."""
import copy
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from models.cuda_kernels import norm as kernels
from models.cuda_kernels import norms_by_triton
from models.cuda_kernels.norm import TritonBatchNorm2d
from models.layers import BatchNorm2d
from tests.support.graph_emulator import Emulated
from tests.support.method_runs import MethodRun
from tests.support.tiny import ROOT

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
SHAPES = [(4, 16, 8, 8), (3, 5, 7, 3), (2, 1, 1, 1), (5, 20, 13, 11)]  # the last in tiles, see `tiles`
USES = [(False, False, False), (False, True, False), (True, False, True), (True, True, False), (True, True, True)]
EXACT = {torch.float32: 5e-6, torch.bfloat16: 0.02 if INTERPRETED else 0.008}  # the interpreter truncates


@pytest.fixture(autouse=True)
def tiles(monkeypatch):
    """Split 715 rows into several tiles, whose sums are read two at a time."""
    monkeypatch.setattr(kernels, "AT_ONCE", 256)
    if INTERPRETED:
        import triton

        from models.cuda_kernels import triton_norm
        monkeypatch.setattr(triton_norm, "BLOCKS", triton.language.constexpr(2))


def images(shape, dtype, seed, mean=0.0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + mean
    return x.to(DEVICE, dtype).to(memory_format=torch.channels_last).requires_grad_()


def make_norm(channels):
    torch.manual_seed(1)
    norm = BatchNorm2d(channels, momentum=0.3)
    norm.weight.data.uniform_(-1, 2)
    norm.bias.data.uniform_(-1, 1)
    return norm.to(DEVICE)


def reference(norm, x, residual, relu):
    """torch's batch norm in float64."""
    x, residual = (v if v is None else v.detach().double().requires_grad_() for v in (x, residual))
    norm = copy.deepcopy(norm).double()
    y = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, norm.momentum, norm.eps)
    y = y if residual is None else y + residual
    return (y.relu() if relu else y), x, residual, norm


def near(found, expected, dtype):
    scale = expected.abs().max().item() or 1.0
    assert (found.double() - expected).abs().max() <= EXACT[dtype] * scale


@pytest.mark.parametrize("relu, summed, twice", USES)
@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_float64(shape, dtype, relu, summed, twice):
    """Forward, gradients, running statistics; twice: a shortcut uses the output as well."""
    x, residual = images(shape, dtype, 1, mean=1.0), images(shape, dtype, 2)
    residual = residual if summed else None
    plain = make_norm(shape[1])
    norm = norms_by_triton(copy.deepcopy(plain))
    assert isinstance(norm, TritonBatchNorm2d)
    y = norm(x, residual, relu)
    expected, x64, residual64, plain = reference(plain, x, residual, relu)
    near(y, expected, dtype)
    near(norm.running_mean, plain.running_mean, torch.float32)
    near(norm.running_var, plain.running_var, torch.float32)
    assert norm.num_batches_tracked == 1

    # near zero, rounding decides which gradients the ReLU drops
    dy, more = (images(shape, dtype, seed).detach() for seed in (3, 4))
    dy[expected.abs() < 0.05], more[expected.abs() < 0.05] = 0, 0
    (y * dy).sum().backward() if not twice else torch.autograd.backward([y, y.shortcut], [dy, more])
    (expected * (dy.double() + more.double() if twice else dy.double())).sum().backward()
    for found, wanted in ((x, x64), (residual, residual64), (norm.weight, plain.weight), (norm.bias, plain.bias)):
        if found is not None and shape[2] > 1:  # with two values per channel the gradient is rounding alone
            near(found.grad, wanted.grad, dtype if found.dim() == 4 else torch.float32)


@pytest.mark.parametrize("summed", [False, True])
def test_the_relu_propagates_nan(summed):
    x = images((4, 16, 8, 8), torch.float32, 1)
    with torch.no_grad():
        x[0, 3, 0, 0] = float("nan")
    y = norms_by_triton(make_norm(16))(x, torch.ones_like(x) if summed else None, True)
    y.sum().backward()
    for found in (y, x.grad):
        assert found.isnan().any((0, 2, 3)).tolist() == [channel == 3 for channel in range(16)]


@pytest.mark.skipif(INTERPRETED, reason="slow, and of other code than the kernels")
def test_a_captured_step_equals_the_eager_one_with_torchs_norms(monkeypatch):
    """With no read by the host and no race."""
    (eager, sums), = MethodRun("mixstd", step="eager", epochs=2).train()
    emulated = Emulated().patch(monkeypatch)
    run = MethodRun("mixstd", step="graph", epochs=2)
    norms_by_triton(run.fits[0].engine.model)
    emulated.state = run.state
    with emulated.checker:
        (graph, found), = run.train()
    assert emulated.captures == 2 and not emulated.forbidden and not emulated.races
    torch.testing.assert_close(graph, eager, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, sums, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the subprocess")
def test_the_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k",
                           "float64 or nan", __file__], cwd=ROOT,
                          env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="needs the compiler")
@pytest.mark.parametrize("numbers", ["*fp32", "*bf16"])
def test_the_kernels_compile_for_a_gpu(numbers, tmp_path, monkeypatch):
    """The compiler may refuse what the interpreter accepts."""
    compiler = pytest.importorskip("triton.compiler")
    from triton.backends.compiler import GPUTarget

    from models.cuda_kernels import triton_norm as launches
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tiles = {"ROWS": 256, "CHANNELS": 16}
    whole = {"ROWS": 4096, "CHANNELS": 4, "partial_at": None}
    kinds = {"rows": "i32", "channels": "i32", "blocks": "i32", "momentum": "fp32", "eps": "fp32"}
    kinds |= dict.fromkeys(["x_at", "y_at", "dy_at", "more_at", "residual_at", "cut_at", "dx_at"], numbers)
    kernels = [(launches._statistics, tiles), (launches._sums, tiles),
               *((kernel, sizes) for kernel in (launches._apply, launches._gradient) for sizes in (tiles, whole))]
    for kernel, sizes in kernels:
        names, values = kernel.arg_names, {**sizes, "PART": 256, "RELU": True}
        fixed = {name: value for name, value in values.items() if name in names}
        signature = {name: "constexpr" if name in fixed else kinds.get(name, "*fp32") for name in names}
        source = compiler.ASTSource(kernel, signature, fixed)
        made = compiler.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
        assert len(made.asm["cubin"]) > 1000
