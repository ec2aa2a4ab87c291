"""A folded network is the same function, and the network it came from is untouched."""
import copy

import pytest
import torch
from torch import nn

from models import model_dict
from models.folding import folded

SIGNATURES = ((False, False), (True, False), (True, True))
NORMS_KEPT = {"resnet20": 0, "resnet8x4": 0, "ResNet50": 0, "wrn_16_1": 7, "wrn_16_2": 7, "vgg13": 0, "MobileNetV2": 0,
              "ShuffleV1": 0, "ShuffleV2": 0}


def lived_in(model):
    """Batch norms as after training: statistics, scales and shifts all different."""
    gen = torch.Generator().manual_seed(2)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3, generator=gen)
            m.running_var.uniform_(0.3, 3, generator=gen)
            m.weight.data.uniform_(-1, 1.5, generator=gen)
            m.bias.data.normal_(0, 0.3, generator=gen)
    return model


def images(batch, dtype=torch.float32, side=32):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


def flat(output):
    return [*output[0], output[1]] if isinstance(output, tuple) else [output]


def count(net, kind):
    return sum(isinstance(m, kind) for m in net.modules())


@pytest.mark.parametrize("dtype, tol", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("name", NORMS_KEPT)
def test_same_outputs(name, dtype, tol):
    torch.manual_seed(0)
    model = lived_in(model_dict[name]()).to(dtype)
    fast, reference = folded(model), copy.deepcopy(model).eval()
    assert count(fast, nn.BatchNorm2d) == NORMS_KEPT[name]
    x = images(2, dtype, side=16)
    with torch.no_grad():
        for is_feat, preact in SIGNATURES:
            got = flat(fast(x, is_feat=is_feat, preact=preact))
            for f, want in zip(got, flat(reference(x, is_feat=is_feat, preact=preact)), strict=True):
                assert f.dtype == dtype and (f - want).norm() <= tol * want.norm()


def test_folded_weights_by_hand():
    model = lived_in(model_dict["vgg8"]()).double()
    with torch.no_grad():
        model.block1[0].bias.normal_()
    conv, bn, fast = model.block1[0], model.block1[1], folded(model).net.block1[0]
    for o in range(0, 128, 17):
        scale = bn.weight[o].item() / (bn.running_var[o].item() + bn.eps) ** 0.5
        bias = (conv.bias[o].item() - bn.running_mean[o].item()) * scale + bn.bias[o].item()
        torch.testing.assert_close(fast.weight[o], conv.weight[o].detach() * scale, rtol=1e-12, atol=0)
        assert fast.bias[o].item() == pytest.approx(bias, rel=1e-12)


def test_original_is_untouched():
    model = lived_in(model_dict["ShuffleV2"]()).train()
    before = copy.deepcopy(model.state_dict())
    fast = folded(model)
    with torch.no_grad():
        for p in fast.parameters():
            p.zero_()
    assert model.training and all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert list(before) == list(model.state_dict())
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


def test_copy_is_for_inference_only():
    fast = folded(lived_in(model_dict["wrn_16_1"]()))
    assert not any(p.requires_grad for p in fast.parameters())
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in fast.parameters() if p.dim() == 4)
    x = images(2).requires_grad_()
    before = fast(x)
    fast.train()
    assert not any(m.training for m in fast.modules())
    assert torch.equal(fast(x), before)
    before.sum().backward()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["resnet8", "vgg8"])
def test_copies_saves_and_compiles(name, tmp_path):
    torch.compiler.reset()
    fast, x = folded(lived_in(model_dict[name]())), images(2)
    torch.save(fast, tmp_path / "folded.pth")
    others = [copy.deepcopy(fast), torch.load(tmp_path / "folded.pth", weights_only=False),
              torch.compile(fast, backend="aot_eager", fullgraph=True)]
    with torch.no_grad():
        for flags in SIGNATURES:
            for other in others:
                for f, want in zip(flat(other(x, *flags)), flat(fast(x, *flags)), strict=True):
                    torch.testing.assert_close(f, want, rtol=1e-4, atol=1e-5)
    assert not {p.data_ptr() for p in fast.parameters()} & {p.data_ptr() for p in others[0].parameters()}


class Awkward(nn.Module):
    """Convolutions that must keep their norms: one has a second reader, one is called twice, one norm is shared."""

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


def test_keeps_norms_that_cannot_be_folded():
    torch.manual_seed(0)
    model = lived_in(Awkward()).double()
    fast, x = folded(model), images(2, torch.float64)
    assert count(fast, nn.BatchNorm2d) == 4
    for f, want in zip(flat(fast(x, True)), flat(model.eval()(x, True)), strict=True):
        torch.testing.assert_close(f, want, rtol=1e-9, atol=1e-9)
