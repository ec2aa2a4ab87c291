"""The CPU's 3x3 convolution and batch norm: compared with torch in float64; inputs that fall back to torch."""
import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode

from models import cpu_kernels, model_dict
from models.cpu_kernels import native, norm, winograd
from models.folding import folded
from models.layers import BatchNorm2d
from tests.support.networks import SIGNATURES, assert_same_function, with_trained_norms
from tests.support.training import options, small_engine

ROOT = Path(__file__).resolve().parent.parent
LAST = torch.channels_last
CALLS = {"plain": lambda bn, x, _: bn(x), "relu": lambda bn, x, _: bn(x, relu=True),
         "sum": lambda bn, x, residual: bn(x, residual), "both": lambda bn, x, residual: bn(x, residual, True)}


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    try:
        cpu_kernels.load()
    except cpu_kernels.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def threads():
    """Function that sets torch's number of threads; restored after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def near(got, want, bound):
    return got.shape == want.shape and (got - want).abs().max() <= bound * want.abs().max()


def images(*shape, offset=0.0):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(*shape, generator=generator) + offset).contiguous(memory_format=LAST)


# The convolution ------------------------------------------------------------------------------------------------------

SHAPES = [(2, 16, 16, 8, 8), (3, 32, 16, 4, 12), (1, 16, 48, 20, 6), (3, 16, 32, 6, 10), (5, 48, 16, 4, 4),
          (1, 32, 64, 2, 34), (64, 64, 64, 8, 8)]  # N, C, K, H, W
SUPPORTED = [(n, c, k, h, w) for n, c, k, h, w in SHAPES if 64 * n * h * w // 4 >= c * k]  # enough tiles for the kernel


def conv(c, k, bias=True):
    torch.manual_seed(0)
    return nn.Conv2d(c, k, 3, padding=1, bias=bias)


def fast_conv(*args):
    return winograd.replace_convolutions(conv(*args))


def uses_kernel(net, x):
    with torch.profiler.profile() as events:
        net(x)
    return not any(event.key == "aten::convolution" for event in events.key_averages())


def conv_outcome(net, x, dy, convert=lambda t: t):
    """Output and the gradients of input, weight and bias."""
    x = convert(x).clone().requires_grad_()
    y = net(x)
    return [y, *torch.autograd.grad(y, [x, *net.parameters()], convert(dy))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("bias", [True, False])
def test_convolution_and_its_gradients_match_float64(bias, layout):
    for shape in SHAPES:
        n, c, k, h, w = shape
        exact, fast = conv(c, k, bias).double(), fast_conv(c, k, bias).to(memory_format=layout)
        x, dy = torch.randn(n, c, h, w).to(memory_format=layout), torch.randn(n, k, h, w)
        assert uses_kernel(fast, x) or shape not in SUPPORTED
        for got, want in zip(conv_outcome(fast, x, dy), conv_outcome(exact, x, dy, torch.Tensor.double), strict=True):
            assert near(got, want, 1e-5), shape


def test_bfloat16_convolution_rounds_only_output_and_input_gradient():
    """Under autocast."""
    for n, c, k, h, w in SUPPORTED:
        exact, fast = conv(c, k).double(), fast_conv(c, k)
        x, dy = torch.randn(n, c, h, w).bfloat16(), torch.randn(n, k, h, w).bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = conv_outcome(fast, x.float(), dy)
        want = conv_outcome(exact, x, dy, torch.Tensor.double)
        assert [t.dtype for t in got] == [torch.bfloat16, *[torch.float32] * 3]
        for one, other, rounded in zip(got, want, (True, True, False, False), strict=True):
            assert ((one - other).abs() <= 1e-5 * other.abs().max() + (2 ** -8 * other.abs() if rounded else 0)).all()


def test_convolution_with_several_threads(threads):
    net, x, dy = fast_conv(16, 32), torch.randn(3, 16, 6, 6), torch.randn(3, 32, 6, 6)
    threads(1)
    alone = conv_outcome(net, x, dy)
    threads(3)
    shared, again = conv_outcome(net, x, dy), conv_outcome(net, x, dy)
    assert all(map(torch.equal, shared, again))  # bit for bit with the same number of threads
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(one, other)


def test_convolution_with_fused_sum_and_relu():
    for side in (6, 8):
        exact, fast, x = conv(16, 32).double(), fast_conv(16, 32), images(3, 16, side, side)
        for residual in (None, images(3, 32, side, side), images(3, 32, side, side).contiguous(), images(1, 32, 1, 1)):
            want = exact(x.double()) if residual is None else exact(x.double()) + residual.double()
            with torch.no_grad():
                assert near(fast(x, residual), want, 1e-5) and near(fast(x, residual, True), F.relu(want), 1e-5)
            assert near(fast(x, residual, True), F.relu(want), 1e-5)  # with autograd, as separate operations


def test_unsupported_convolutions_fall_back_to_torch():
    for shape, dtype in (((2, 16, 7, 8), torch.float32), ((2, 16, 8, 8), torch.float64), ((16, 8, 8), torch.float32)):
        plain, fast = conv(16, 16).to(dtype), winograd.replace_convolutions(conv(16, 16).to(dtype))
        x = torch.randn(shape, dtype=dtype)
        assert torch.equal(fast(x), plain(x)) and not uses_kernel(fast, x)
    fast, x = fast_conv(64, 64), torch.randn(3, 64, 8, 8)  # too few tiles
    assert not uses_kernel(fast, x) and uses_kernel(fast, torch.randn(4, 64, 8, 8))
    plain, x = conv(64, 64), images(4, 64, 8, 8)
    torch.testing.assert_close(fast(torch._neg_view(x)), plain(-x))
    with torch.no_grad():
        torch.testing.assert_close(fast(x, torch._neg_view(x)), plain(x) - x, rtol=1e-4, atol=1e-5)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert fast(mode.from_tensor(x)).shape == x.shape
    with torch.autocast("cpu", dtype=torch.float16):
        assert fast(x).dtype == torch.float16 and not uses_kernel(fast, torch.randn(4, 64, 8, 8))
    with pytest.raises(RuntimeError, match="type"):
        fast(torch.randn(4, 64, 8, 8).bfloat16())  # without autocast, inputs and weights need the same dtype
    with pytest.raises(RuntimeError, match="to have 64 channels"):
        fast(torch.randn(4, 8, 8, 8))
    kinds = [nn.Conv2d(16, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, padding=0), nn.Conv2d(16, 16, 1),
             nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 24, 3, 1, 1),
             nn.Conv2d(16, 16, 3, 1, 2, dilation=2), nn.Conv2d(32, 32, 3, 1, 1, groups=2),
             nn.Conv2d(16, 16, 3, 1, 1, padding_mode="reflect"), nn.Conv2d(16, 16, 3, padding="same")]
    assert {type(m) for m in winograd.replace_convolutions(nn.ModuleList(kinds))} == {nn.Conv2d}


# The norm -------------------------------------------------------------------------------------------------------------

def batch_norm(c, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    bn = BatchNorm2d(c, eps=1e-3, momentum=0.3)
    with torch.no_grad():
        bn.weight.uniform_(-1, 2, generator=generator)
        bn.bias.normal_(generator=generator)
        bn.running_mean.normal_(generator=generator)
        bn.running_var.uniform_(0.5, 2, generator=generator)
    return bn.to(dtype)


def fast_norm(c):
    return norm.replace_norms(batch_norm(c))


def norm_outcome(call, bn, x, residual, dy):
    """Output, gradients of input, shortcut, weight and bias, and the statistics after two steps."""
    x, residual = x.clone().requires_grad_(), residual.clone().requires_grad_()
    call(bn, x, residual)
    y = call(bn, x, residual)
    gradients = torch.autograd.grad(y, [x, residual, bn.weight, bn.bias], dy, allow_unused=True)
    return [y, *(g for g in gradients if g is not None), bn.running_mean, bn.running_var], bn.num_batches_tracked


@pytest.mark.parametrize("call", CALLS)
def test_norm_in_training_matches_float64(call, threads):
    for number, shape in ((1, (64, 64, 8, 8)), (2, (3, 48, 5, 7)), (3, (1, 32, 1, 2)), (3, (5, 16, 13, 1))):
        x, residual, dy = images(*shape), images(*shape).flip(0), images(*shape).roll(1, 0).flip(1)
        residual, dy = (t.contiguous(memory_format=LAST) for t in (residual, dy))
        threads(number)
        got, steps = norm_outcome(CALLS[call], fast_norm(shape[1]), x, residual, dy)
        want, exact = norm_outcome(CALLS[call], batch_norm(shape[1], torch.float64),
                                   *(t.double() for t in (x, residual, dy)))
        assert steps == exact == 2
        assert all(near(one, other, 2e-5) for one, other in zip(got, want, strict=True)), shape


@pytest.mark.parametrize("call", CALLS)
def test_bfloat16_norm_rounds_only_output_and_input_gradients(call):
    x, residual = (t.bfloat16() for t in (images(5, 32, 6, 7), images(5, 32, 6, 7).square()))
    dy = images(5, 32, 6, 7).roll(1, 0).contiguous(memory_format=LAST).bfloat16()
    got, _ = norm_outcome(CALLS[call], fast_norm(32), x, residual, dy)
    want, _ = norm_outcome(CALLS[call], batch_norm(32, torch.float64), *(t.double() for t in (x, residual, dy)))
    for one, other in zip(got, want, strict=True):
        rounded = one.dtype == torch.bfloat16
        assert rounded == (one.dim() == 4) and one.shape == other.shape
        assert ((one - other).abs() <= 2e-5 * other.abs().max() + (2 ** -8 * other.abs() if rounded else 0)).all()


@pytest.mark.parametrize("call", CALLS)
def test_norm_in_evaluation_mode(call):
    x, residual = images(4, 32, 6, 6), images(4, 32, 6, 6).square()
    fast, exact = fast_norm(32).eval(), batch_norm(32, torch.float64).eval()
    with torch.no_grad():
        assert near(CALLS[call](fast, x, residual), CALLS[call](exact, x.double(), residual.double()), 1e-6)
    assert fast.num_batches_tracked == 0
    fast.requires_grad_(False)
    fast.bias.requires_grad_()  # frozen except for its bias
    fast(x, residual).sum().backward()
    assert (fast.bias.grad == 4 * 36).all()


def test_norm_is_accurate_for_a_large_mean():
    """With a mean of 1000 deviations, the variance is as accurate as float32 inputs allow; gradients of torch's
    channels_last norm (--kernels torch) are off by up to 3e-4 of their largest entry at a mean of 50 deviations."""
    x = images(8, 16, 8, 8, offset=1000.0)
    fast, exact = fast_norm(16), batch_norm(16, torch.float64)
    assert near(fast(x), exact(x.double()), 1e-4) and near(fast.running_var, exact.running_var, 1e-6)
    x, dy = images(64, 16, 32, 32, offset=50), images(64, 16, 32, 32).roll(1, 0).contiguous(memory_format=LAST)
    got, _ = norm_outcome(CALLS["plain"], fast_norm(16), x, x, dy)
    want, _ = norm_outcome(CALLS["plain"], batch_norm(16, torch.float64), *(t.double() for t in (x, x, dy)))
    assert all(near(one, other, 5e-6) for one, other in zip(got, want, strict=True))


def test_norm_propagates_nan():
    x = images(2, 16, 4, 4)
    x[1, 3, 2, 2] = float("nan")
    y = fast_norm(16)(x, relu=True)
    assert y[:, 3].isnan().all() and y.isnan().sum() == y[:, 3].numel()


@pytest.mark.parametrize("change", ["double", "half", "mixed", "layout", "shortcut", "neg", "momentum", "statistics"])
def test_unsupported_norms_fall_back_to_torch(change, monkeypatch):
    monkeypatch.setattr(norm, "kernels", lambda: pytest.fail("the kernel was called"))
    plain, fast, x, residual = batch_norm(16), fast_norm(16), images(4, 16, 4, 4), None
    if change in ("double", "half"):
        x, plain, fast = (t.double() if change == "double" else t.bfloat16() for t in (x, plain, fast))
    elif change == "momentum":
        plain.momentum = fast.momentum = None
    elif change == "statistics":
        for bn in (plain, fast):
            bn.running_mean = bn.running_var = None
            bn.track_running_stats = False
    else:
        x = {"layout": x.contiguous, "neg": lambda: torch._neg_view(x)}.get(change, lambda: x)()
        residual = {"mixed": x.bfloat16(), "shortcut": torch.randn(1, 16, 1, 1)}.get(change)
    torch.testing.assert_close(fast(x, residual), plain(x, residual))


def test_invalid_inputs_raise_and_other_norms_are_not_replaced():
    for wrong in (images(4, 16, 4, 4)[0], images(4, 32, 4, 4), images(1, 16, 1, 1)):
        with pytest.raises((ValueError, RuntimeError)):
            fast_norm(16)(wrong)
    fast, x = fast_norm(16), images(2, 16, 4, 4)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert fast(mode.from_tensor(x)).shape == x.shape
    kinds = [nn.BatchNorm2d(16, affine=False), nn.BatchNorm2d(16, track_running_stats=False),
             nn.BatchNorm2d(16, momentum=None), nn.BatchNorm2d(24), nn.BatchNorm1d(16)]
    assert not any(isinstance(m, norm.NativeBatchNorm2d) for m in norm.replace_norms(nn.ModuleList(kinds)))


# Both -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fast", [lambda: fast_conv(16, 16), lambda: fast_norm(16)])
def test_second_derivative_raises(fast):
    x = images(4, 16, 8, 8).requires_grad_()
    slope, = torch.autograd.grad(fast()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("fast", [lambda: fast_conv(16, 16), lambda: fast_norm(16)])
def test_a_gradient_that_torch_negates_when_it_is_read_is_negated(fast):
    x, dy = images(4, 16, 8, 8).requires_grad_(), images(4, 16, 8, 8)
    slopes = [torch.autograd.grad(fast()(x), x, given)[0] for given in (-dy, torch._neg_view(dy))]
    assert torch.equal(*slopes) and slopes[0].any()


def test_replaced_layers_keep_their_state_and_stay_shared():
    bn, layer = batch_norm(16).eval(), nn.Conv2d(16, 16, 3, padding=1)
    net = nn.ModuleDict({"a": nn.Sequential(layer, bn), "b": nn.Sequential(layer, bn, nn.BatchNorm2d(16))})
    before, keys, random = dict(net.named_parameters()), list(net.state_dict()), torch.get_rng_state()
    buffers = dict(net.named_buffers())
    assert cpu_kernels.accelerate(net) is net
    assert torch.equal(random, torch.get_rng_state())
    assert net["a"][0] is net["b"][0] and net["a"][1] is net["b"][1] and not net["a"][1].training
    assert isinstance(net["a"][0], winograd.WinogradConv2d) and isinstance(net["b"][2], norm.NativeBatchNorm2d)
    assert list(net.state_dict()) == keys
    assert all(value is before[name] for name, value in net.named_parameters())
    assert all(value is buffers[name] for name, value in net.named_buffers())


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2",
                                  pytest.param("ResNet50", marks=pytest.mark.slow)])
def test_fused_teacher_computes_the_same_function(name):
    torch.manual_seed(0)
    net = with_trained_norms(model_dict[name](num_classes=10))
    exact, fast = copy.deepcopy(net).double().eval(), cpu_kernels.accelerate(folded(net))
    for signature in SIGNATURES:
        fused = cpu_kernels.fused(copy.deepcopy(fast), *signature)
        assert_same_function(fused, exact, images(2, 3, 32, 32), 1e-4, [signature])


def test_number_of_fused_shortcuts_and_relus():
    net, found = cpu_kernels.accelerate(folded(model_dict["resnet20"](num_classes=10))), []
    for features in (False, True):
        graph = cpu_kernels.fused(net, features, features)
        calls = [node.kwargs for node in graph.graph.nodes if node.op == "call_module"]
        found.append((sum("residual" in kwargs for kwargs in calls), sum("relu" in kwargs for kwargs in calls)))
    # All but the stem and two strided convolutions; with preact, three sums are returned before their ReLU.
    assert found == [(9, 16), (9, 13)]


def test_an_engine_has_the_kernels_that_its_flag_names():
    for kernels in ("native", "torch"):
        net = small_engine(options(kernels=kernels)).model
        assert any(isinstance(m, winograd.WinogradConv2d) for m in net.modules()) == (kernels == "native")
        assert any(isinstance(m, norm.NativeBatchNorm2d) for m in net.modules()) == (kernels == "native")


# Compiling ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with C++ source, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "tiny.cpp").write_text('extern "C" int three() { return 3; }')
    return folder


def test_library_is_compiled_once_and_again_after_a_change(tiny, tmp_path, monkeypatch):
    left = tmp_path / "cache/mixkd/tmpleft"  # of a killed compilation
    left.mkdir(parents=True)
    assert native.load(tiny).three() == 3
    with monkeypatch.context() as patch:
        patch.setattr(native, "build", lambda *_: pytest.fail("compiled again"))
        assert native.load(tiny).three() == 3
    (tiny / "tiny.cpp").write_text('#include "tiny.h"')
    (tiny / "tiny.h").write_text('extern "C" int three() { return 4; }')
    assert native.load(tiny).three() == 4


@pytest.mark.slow
def test_truncated_library_is_compiled_again(tiny, tmp_path):
    """In a subprocess: loading a truncated library would end it with a bus error."""
    program = ("from pathlib import Path; from models.cpu_kernels import native; "
               f"print(native.load(Path({str(tiny)!r})).three())")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "3\n"), done
        made, = (tmp_path / "cache/mixkd").iterdir()  # the damaged one has been replaced
        made.write_bytes(made.read_bytes()[:6000])


def test_library_loads_without_a_writable_cache(tiny, tmp_path):
    (tmp_path / "cache").write_text("")
    assert native.load(tiny).three() == 3


@pytest.mark.parametrize("compiler, source, why", [
    ("g++ -O2", "", "^no C\\+\\+ compiler g\\+\\+ -O2, as CXX names it \\(a program, without arguments\\)$"),
    ("true", "", "^true can't compile tiny: Could not load this library"),
    ("c++", "no C++", "^c\\+\\+ can't compile tiny: .*tiny.cpp.*error"),
])
def test_failed_compilation_is_reported_in_one_line(tiny, monkeypatch, compiler, source, why):
    monkeypatch.setenv("CXX", compiler)
    (tiny / "tiny.cpp").write_text(source)
    with pytest.raises(native.Unavailable, match=why) as caught:
        native.load(tiny)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["auto", "native"])
def test_training_without_a_compiler_uses_torch_or_is_refused(tmp_path, kernels):
    words = [sys.executable, "train_teacher.py", "--model", "resnet8", "--dataset", "digits", "--epochs", "1",
             "--lr_decay_epochs", "1", "--train_fraction", "0.1", "--device", "cpu", "--kernels", kernels,
             "--save_dir", str(tmp_path / "save")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, env={
        **os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "CXX": "no-such-compiler"})
    why = "no C++ compiler no-such-compiler, as CXX names it"
    if kernels == "auto":
        assert done.returncode == 0 and f"==> --kernels torch, which are slower: {why}" in done.stdout, done.stderr
    else:
        assert done.returncode == 2 and f"--kernels native: {why}" in done.stderr and not (tmp_path / "save").exists()
