"""The CPU's batch norm: against torch's in float64, in training and evaluation, and where it must stand back."""
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode

from models import cpu_kernels, model_dict
from models.cpu_kernels import norm, winograd
from models.folding import folded
from models.layers import BatchNorm2d

LAST = torch.channels_last
CALLS = {"plain": lambda bn, x, _: bn(x), "relu": lambda bn, x, _: bn(x, relu=True),
         "sum": lambda bn, x, residual: bn(x, residual), "both": lambda bn, x, residual: bn(x, residual, True)}


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    try:
        cpu_kernels.load()
    except cpu_kernels.Unavailable as error:
        pytest.skip(str(error))


def layer(c, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    bn = BatchNorm2d(c, eps=1e-3, momentum=0.3)
    with torch.no_grad():
        bn.weight.uniform_(-1, 2, generator=generator)
        bn.bias.normal_(generator=generator)
        bn.running_mean.normal_(generator=generator)
        bn.running_var.uniform_(0.5, 2, generator=generator)
    return bn.to(dtype)


def images(*shape, offset=0.0):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(*shape, generator=generator) + offset).contiguous(memory_format=LAST)


def outcome(call, bn, x, residual, dy):
    """Output, gradients of input, shortcut, weight and bias, and the statistics after two steps."""
    x, residual = x.clone().requires_grad_(), residual.clone().requires_grad_()
    call(bn, x, residual)
    y = call(bn, x, residual)
    gradients = torch.autograd.grad(y, [x, residual, bn.weight, bn.bias], dy, allow_unused=True)
    return [y, *(g for g in gradients if g is not None), bn.running_mean, bn.running_var], bn.num_batches_tracked


def near(got, want, bound):
    return (got - want).abs().max() <= bound * want.abs().max()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(2, 16, 8, 8), (3, 48, 5, 7), (64, 64, 8, 8), (1, 32, 1, 2), (5, 16, 13, 1)])
def test_training_is_torchs_in_double_precision(shape, call, threads):
    x, residual, dy = images(*shape), images(*shape).flip(0), images(*shape).roll(1, 0).flip(1)
    residual, dy = (t.contiguous(memory_format=LAST) for t in (residual, dy))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got, steps = outcome(CALLS[call], norm.replace_norms(layer(shape[1])), x, residual, dy)
    finally:
        torch.set_num_threads(before)
    want, exact_steps = outcome(CALLS[call], layer(shape[1], torch.float64), *(t.double() for t in (x, residual, dy)))
    assert steps == exact_steps == 2 and len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape and near(one, other, 2e-5)


@pytest.mark.parametrize("call", CALLS)
def test_in_bfloat16_only_what_is_held_is_rounded(call):
    """Output and the gradients of input and shortcut; the rest keeps single precision's digits."""
    x, residual = (t.bfloat16() for t in (images(5, 32, 6, 7), images(5, 32, 6, 7).square()))
    dy = images(5, 32, 6, 7).roll(1, 0).contiguous(memory_format=LAST).bfloat16()
    got, _ = outcome(CALLS[call], norm.replace_norms(layer(32)), x, residual, dy)
    want, _ = outcome(CALLS[call], layer(32, torch.float64), *(t.double() for t in (x, residual, dy)))
    for one, other in zip(got, want, strict=True):
        held = one.dtype == torch.bfloat16
        assert held == (one.dim() == 4) and one.shape == other.shape
        assert ((one - other).abs() <= 2e-5 * other.abs().max() + (2 ** -8 * other.abs() if held else 0)).all()
    fast, exact = norm.replace_norms(layer(32)).eval(), layer(32, torch.float64).eval()
    with torch.no_grad():
        one, other = CALLS[call](fast, x, residual), CALLS[call](exact, x.double(), residual.double())
    assert one.dtype == torch.bfloat16 and ((one - other).abs() <= 2 ** -8 * other.abs() + 1e-6).all()


def test_a_large_mean_costs_no_digits():
    """Where the mean is 1000 deviations, the variance keeps what single precision has left of the values."""
    x = images(8, 16, 8, 8, offset=1000.0)
    fast, exact = norm.replace_norms(layer(16)), layer(16, torch.float64)
    assert near(fast(x), exact(x.double()), 1e-4)
    assert near(fast.running_var, exact.running_var, 1e-6)


@pytest.mark.parametrize("call", CALLS)
def test_evaluation(call):
    x, residual = images(4, 32, 6, 6), images(4, 32, 6, 6).square()
    fast, exact = norm.replace_norms(layer(32)).eval(), layer(32, torch.float64).eval()
    with torch.no_grad():
        assert near(CALLS[call](fast, x, residual), CALLS[call](exact, x.double(), residual.double()), 1e-6)
        assert near(fast(x, residual, True), F.relu(exact(x.double()) + residual.double()), 1e-6)
    assert fast.num_batches_tracked == 0
    y = fast(x.requires_grad_())  # with autograd torch computes
    assert torch.equal(y, layer(32).eval()(x)) and y.requires_grad


def test_what_is_not_a_number_stays_one():
    x = images(2, 16, 4, 4)
    x[1, 3, 2, 2] = float("nan")
    y = norm.replace_norms(layer(16))(x, relu=True)
    assert y[:, 3].isnan().all() and y.isnan().sum() == y[:, 3].numel()


@pytest.mark.parametrize("change", ["double", "half", "mixed", "layout", "dims", "channels", "single", "shortcut"])
def test_torch_computes_what_the_kernel_does_not_serve(change, monkeypatch):
    monkeypatch.setattr(norm, "kernels", lambda: pytest.fail("the kernel was called"))
    plain, fast = layer(16), norm.replace_norms(layer(16))
    x = images(4, 16, 4, 4)
    if change == "shortcut":
        residual = torch.randn(1, 16, 1, 1)
        torch.testing.assert_close(fast(x, residual), plain(x, residual))
    elif change == "mixed":  # a shortcut held in other numbers than the images
        residual = x.bfloat16()
        torch.testing.assert_close(fast(x, residual), plain(x, residual))
    elif change in ("double", "half"):
        x, plain, fast = (t.double() if change == "double" else t.bfloat16() for t in (x, plain, fast))
        assert torch.equal(fast(x), plain(x))
    elif change == "layout":
        assert torch.equal(fast(x.contiguous()), plain(x.contiguous()))
    else:
        wrong = {"dims": x[0], "channels": images(4, 32, 4, 4), "single": images(1, 16, 1, 1)}[change]
        with pytest.raises((ValueError, RuntimeError)):
            fast(wrong)


@pytest.mark.parametrize("who", ["bias", "weight", "residual"])
def test_in_evaluation_whoever_needs_a_gradient_gets_it(who):
    """A frozen norm with one part that is not."""
    fast, x, residual = norm.replace_norms(layer(16)).eval(), images(2, 16, 4, 4), images(2, 16, 4, 4)
    fast.requires_grad_(False)
    part = residual if who == "residual" else getattr(fast, who)
    part.requires_grad_()
    fast(x, residual).sum().backward()
    want = {"bias": 32.0, "residual": 1.0}.get(who)
    assert part.grad.abs().sum() > 0 and (want is None or (part.grad == want).all())


def test_a_layer_changed_later_is_torchs():
    plain, fast, x = layer(16), norm.replace_norms(layer(16)), images(2, 16, 4, 4)
    for bn in (plain, fast):
        bn.momentum = None
    assert torch.equal(fast(x), plain(x)) and torch.equal(fast.running_var, plain.running_var)
    for bn in (plain, fast):
        bn.running_mean = bn.running_var = None
        bn.track_running_stats = False
    assert torch.equal(fast(x), plain(x))
    conv = winograd.replace_convolutions(nn.Conv2d(16, 16, 3, padding=1))
    conv.padding = (0, 0)
    assert conv(x).shape == (2, 16, 2, 2)


def test_tensors_without_memory_of_their_own_are_left_to_torch():
    plain, fast, x = layer(16), norm.replace_norms(layer(16)), images(2, 16, 4, 4)
    assert torch.equal(fast(torch._neg_view(x)), plain(torch._neg_view(x)))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert fast(mode.from_tensor(x)).shape == x.shape


def test_only_norms_of_its_kind_are_changed():
    kinds = [nn.BatchNorm2d(16, affine=False), nn.BatchNorm2d(16, track_running_stats=False),
             nn.BatchNorm2d(16, momentum=None), nn.BatchNorm2d(24), nn.BatchNorm1d(16)]
    assert not any(isinstance(m, norm.NativeBatchNorm2d) for m in norm.replace_norms(nn.ModuleList(kinds)))


def test_a_replaced_layer_keeps_its_state_and_stays_shared():
    bn, conv = layer(16).eval(), nn.Conv2d(16, 16, 3, padding=1)
    net = nn.ModuleDict({"a": nn.Sequential(conv, bn), "b": nn.Sequential(conv, bn, nn.BatchNorm2d(16))})
    before, keys, random = dict(net.named_parameters()), list(net.state_dict()), torch.get_rng_state()
    buffers = dict(net.named_buffers())
    assert cpu_kernels.accelerate(net) is net
    assert torch.equal(random, torch.get_rng_state())
    assert net["a"][0] is net["b"][0] and net["a"][1] is net["b"][1] and not net["a"][1].training
    assert isinstance(net["a"][0], winograd.WinogradConv2d) and isinstance(net["b"][2], norm.NativeBatchNorm2d)
    assert list(net.state_dict()) == keys
    assert all(value is before[name] for name, value in net.named_parameters())
    assert all(value is buffers[name] for name, value in net.named_buffers())
    assert type(bn) is BatchNorm2d and type(conv) is nn.Conv2d  # the layers themselves are left as they were


def test_a_second_derivative_is_refused():
    fast, x = norm.replace_norms(layer(16)), images(2, 16, 4, 4).requires_grad_()
    slope, = torch.autograd.grad(fast(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


# The teacher ------------------------------------------------------------------------------------------------------


def lived_in(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 3)
    return net


def taken_in(graph):
    """How many convolutions add a shortcut, and how many rectify."""
    calls = [node.kwargs for node in graph.graph.nodes if node.op == "call_module"]
    return sum("residual" in kwargs for kwargs in calls), sum("relu" in kwargs for kwargs in calls)


@pytest.mark.slow
@pytest.mark.parametrize("is_feat, preact", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("name", sorted(model_dict))
def test_a_fused_teacher_is_the_same_function(name, is_feat, preact):
    torch.manual_seed(0)
    net = lived_in(model_dict[name](num_classes=10))
    exact = copy.deepcopy(net).double().eval()
    fast = cpu_kernels.fused(cpu_kernels.accelerate(folded(net)), is_feat, preact)
    x = images(2, 3, 32, 32)
    with torch.no_grad():
        got, want = fast(x, is_feat, preact), exact(x.double(), is_feat=is_feat, preact=preact)
    pairs = [*zip(got[0], want[0], strict=True), (got[1], want[1])] if is_feat else [(got, want)]
    for one, other in pairs:
        assert one.shape == other.shape and (one - other).norm() <= 1e-4 * other.norm()


def test_what_a_teacher_takes_in():
    net = cpu_kernels.accelerate(folded(model_dict["resnet20"](num_classes=10)))
    assert taken_in(cpu_kernels.fused(net, False, False)) == (9, 16)  # all but the stem and the two strides
    assert taken_in(cpu_kernels.fused(net, True, True)) == (9, 13)  # three sums are seen before their ReLU
    wide = cpu_kernels.accelerate(folded(model_dict["wrn_16_2"](num_classes=10)))
    assert taken_in(cpu_kernels.fused(wide, False, False))[0] == 6


def test_a_convolution_adds_and_rectifies():
    torch.manual_seed(0)
    for side in (6, 8):
        exact, x = nn.Conv2d(16, 32, 3, padding=1).double(), images(3, 16, side, side)
        fast = winograd.replace_convolutions(copy.deepcopy(exact).float())
        for residual in (None, images(3, 32, side, side), images(3, 32, side, side).contiguous(), images(1, 32, 1, 1)):
            want = exact(x.double()) if residual is None else exact(x.double()) + residual.double()
            with torch.no_grad():
                assert near(fast(x, residual), want, 1e-5) and near(fast(x, residual, True), F.relu(want), 1e-5)
            assert near(fast(x, residual, True), F.relu(want), 1e-5)  # with autograd, in steps of its own


@pytest.mark.slow
@pytest.mark.parametrize("deviations, torchs_bound", [(0.5, 1e-5), (5, 1e-4), (50, 1e-3)])
@pytest.mark.parametrize("shape", [(64, 16, 32, 32), (64, 32, 16, 16), (64, 64, 8, 8)])
def test_what_the_kernels_gain_in_accuracy(shape, deviations, torchs_bound):
    """Gradients under a resnet20's norms. torch's channels_last norm, which --kernels torch runs, adds up in single
    precision: its error grows with the mean, up to 3e-4 of the largest value at a mean of 50 deviations."""
    x, dy = images(*shape, offset=deviations), images(*shape).roll(1, 0).contiguous(memory_format=LAST)
    worst = {}
    for name, bn in (("torch", layer(shape[1])), ("native", norm.replace_norms(layer(shape[1])))):
        reference = layer(shape[1], torch.float64)
        found = []
        for net, values, gradient in ((bn, x, dy), (reference, x.double(), dy.double())):
            values = values.clone().requires_grad_()
            found.append(torch.autograd.grad(net(values), [values, net.weight, net.bias], gradient))
        worst[name] = max(float((got - want).abs().max() / want.abs().max()) for got, want in zip(*found, strict=True))
    assert worst["native"] < 5e-6 and worst["torch"] < torchs_bound, worst
