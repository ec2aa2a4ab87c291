"""A folded network, fused for CUDA or not, computes the same function; the original network is unchanged."""
import copy

import pytest
import torch
from torch import nn

from helper.device import set_precision
from models import model_dict
from models.folding import folded
from models.fusing import FusedConv2d, cudnn_fuses, fused_for_cuda
from scripts.bench.operations import OperationCount
from tests.support.networks import SIGNATURES, assert_same_function, flat, images, with_trained_norms

NORMS_KEPT = {"resnet20": 0, "ResNet50": 0, "wrn_16_2": 7, "vgg13": 0, "MobileNetV2": 0,
              "ShuffleV1": 0, "ShuffleV2": 0}


def network(name):
    torch.manual_seed(0)
    return with_trained_norms(model_dict[name](num_classes=7))


def count(net, kind):
    return sum(isinstance(m, kind) for m in net.modules())


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in ("ResNet50", "vgg13") else name
                                  for name in NORMS_KEPT])
def test_a_folded_network_computes_the_same_function(name):
    model = network(name).double()
    exact, fast, x = copy.deepcopy(model).eval(), folded(model), images(2, 3, 16, 16, dtype=torch.float64)
    assert count(fast, nn.BatchNorm2d) == NORMS_KEPT[name]
    assert_same_function(fast, exact, x, 1e-9)
    assert_same_function(folded(copy.deepcopy(model).float()), exact, x.float(), 1e-4, SIGNATURES[1:2])
    for signature in SIGNATURES:
        fused = fused_for_cuda(copy.deepcopy(fast), *signature)
        assert_same_function(fused, exact, x, 1e-9, [signature])


def test_folding_leaves_the_network_unchanged():
    model = network("ShuffleV2").train()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for p in folded(model).parameters():
            p.zero_()
    assert all(m.training for m in model.modules()) and all(p.requires_grad for p in model.parameters())
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


def test_a_folded_network_is_for_inference_only():
    fast = folded(network("wrn_16_1"))
    assert not any(p.requires_grad for p in fast.parameters())
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in fast.parameters() if p.dim() == 4)
    x = images(2, 3, 32, 32).requires_grad_()
    before = fast(x)
    assert not any(m.training for m in fast.modules())
    before.sum().backward()
    assert x.grad.abs().max() > 0


class Awkward(nn.Module):
    """Convolutions that must keep their norms: one output is used twice, one is called twice, one norm is shared."""

    def __init__(self):
        super().__init__()
        self.read_twice, self.called_twice, self.a, self.b = (nn.Conv2d(3, 3, 1) for _ in range(4))
        self.bn1, self.bn2, self.bn3, self.shared = (nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, x, is_feat=False, preact=False):
        raw = self.read_twice(x)
        x = self.bn1(raw) + raw
        x = self.bn2(self.called_twice(x)) + self.bn3(self.called_twice(x + 1))
        x = self.shared(self.a(x)) * self.shared(self.b(x))
        return ([raw], x) if is_feat else x


def test_norms_that_cannot_be_folded_are_kept():
    torch.manual_seed(0)
    model = with_trained_norms(Awkward()).double()
    fast = folded(model)
    assert count(fast, nn.BatchNorm2d) == 4
    assert_same_function(fast, model.eval(), images(2, 3, 8, 8, dtype=torch.float64), 1e-9)


@pytest.mark.parametrize("name, most", [("resnet20", 27), ("vgg8", 15)])
def test_a_fused_block_is_two_operations(name, most):
    """A convolution, its bias, its sum and its ReLU are one operation; not fused, up to four."""
    plain = folded(network(name))
    fused, counts = fused_for_cuda(copy.deepcopy(plain), False, False), []
    for net in (plain, fused):
        with torch.no_grad(), OperationCount() as operations:
            net(torch.randn(1, 3, 32, 32), False, False)
        counts.append(operations.total)
    assert counts[1] <= most and counts[1] < 0.6 * counts[0] and count(fused, FusedConv2d), counts


def test_a_fused_network_computes_in_half_precision():
    fused = fused_for_cuda(folded(network("resnet8")), True, True)
    for layer in fused.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.bfloat16()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        assert all(f.isfinite().all() for f in flat(fused(images(2, 3, 32, 32), True, True)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["resnet20", "vgg8", "ShuffleV1"])
def test_cudnns_fused_operation_computes_the_same_function(name):
    device = torch.device("cuda")
    assert cudnn_fuses(device, torch.float32)
    set_precision("fp32", device)
    net = network(name).eval()
    x = images(64, 3, 32, 32)
    fused = fused_for_cuda(folded(net), False, False).to(device)
    with torch.no_grad():
        found = fused(x.to(device, memory_format=torch.channels_last), False, False).cpu()
        torch.testing.assert_close(found.double(), net.double()(x.double()), rtol=1e-4, atol=1e-4)
