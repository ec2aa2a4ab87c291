"""A folded network with fused convolutions is the same function, in fewer operations."""
import copy

import pytest
import torch

from helper.device import set_precision
from models import model_dict
from models.folding import folded
from models.fusing import FusedConv2d, fused_for_cuda, offered
from scripts.bench.operations import OperationCount

NAMES = ["resnet8", "resnet8x4", "ResNet50", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"]


def network(name):
    torch.manual_seed(0)
    net = model_dict[name](num_classes=7).double().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


@pytest.mark.parametrize("is_feat, preact", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_networks_function(name, is_feat, preact):
    net = network(name)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fused = fused_for_cuda(folded(net), is_feat, preact)
    with torch.no_grad():
        expected, found = net(x, is_feat, preact), fused(x, is_feat, preact)
    pairs = zip([*expected[0], expected[1]], [*found[0], found[1]], strict=True) if is_feat else [(expected, found)]
    for want, got in pairs:
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name, most", [("resnet20", 27), ("resnet56", 63), ("vgg8", 15)])
def test_a_block_is_two_operations(name, most):
    """Counted: a convolution, its bias, its sum and its ReLU as one; before, up to four."""
    plain = folded(model_dict[name](num_classes=7).eval())
    fused = fused_for_cuda(copy.deepcopy(plain), False, False)
    counts = []
    for net in (plain, fused):
        with torch.no_grad(), OperationCount() as count:
            net(torch.randn(1, 3, 32, 32), False, False)
        counts.append(count.total)
    assert counts[1] <= most and counts[1] < 0.6 * counts[0], counts
    assert any(isinstance(module, FusedConv2d) for module in fused.modules())


def test_single_and_half_precision_and_a_feature_that_is_seen():
    net = folded(network("resnet8").float())
    fused = fused_for_cuda(copy.deepcopy(net), True, True)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for want, got in zip(net(x, True, True)[0], fused(x, True, True)[0], strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        for layer in fused.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                layer.bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
            assert fused(x, True, True)[1].dtype == torch.bfloat16


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["resnet20", "vgg8", "ShuffleV1"])
def test_cudnns_operation_is_the_networks_function(name):
    device = torch.device("cuda")
    assert offered(device, torch.float32)
    set_precision("fp32", device)
    net = network(name)
    x = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    fused = fused_for_cuda(folded(net.float()), False, False).to(device)
    with torch.no_grad():
        found = fused(x.to(device, memory_format=torch.channels_last), False, False).cpu()
        torch.testing.assert_close(found.double(), net.double()(x.double()), rtol=1e-4, atol=1e-4)
