"""Every network compared with golden figures; gradients, features, initialisation."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import model_dict
from tests.references import networks
from tests.references.networks import GOLDEN

SHAPES = {  # stages as (channels, side), then the pooled width, at 32x32
    "resnet8": [(16, 32), (16, 32), (32, 16), (64, 8), 64],
    "resnet8x4": [(32, 32), (64, 32), (128, 16), (256, 8), 256],
    "ResNet50": [(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4), 2048],
    "wrn_16_1": [(16, 32), (16, 32), (32, 16), (64, 8), 64],
    "wrn_16_2": [(16, 32), (32, 32), (64, 16), (128, 8), 128],
    "vgg8": [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4), 512],
    "MobileNetV2": [(16, 16), (12, 16), (16, 8), (48, 4), (160, 2), 1280],
    "ShuffleV1": [(24, 32), (240, 16), (480, 8), (960, 4), 960],
    "ShuffleV2": [(24, 32), (116, 16), (232, 8), (464, 4), 1024],
}
FAMILIES = [pytest.param(name, marks=pytest.mark.slow) if name == "ResNet50" else name for name in SHAPES]


def images(batch, side=32, dtype=torch.float32):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if figures["parameters"] > 5e6 else name
                                  for name, figures in GOLDEN.items()])
def test_state_and_outputs_match_the_golden_figures(name):
    """Names, order and shapes of the state; every feature and the logits."""
    golden, model = GOLDEN[name], model_dict[name](num_classes=100)
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]
    assert (len(model.state_dict()), networks.digest(model.state_dict())) == (golden["entries"], golden["state"])
    state = networks.state_like(model.state_dict())
    model = model.double().eval()
    model.load_state_dict(state, strict=True)
    x, expected = networks.image(), golden["outputs"]
    with torch.no_grad():
        for preact, key in ((False, "features"), (True, "preact")):
            features, logits = model(x, is_feat=True, preact=preact)
            assert isinstance(features, list) and len(features) == len(expected[key])
            for found, (mean, square) in zip(networks.figures(features), expected[key], strict=True):
                assert found == pytest.approx([mean, square], rel=1e-9, abs=1e-9 * square**0.5)
            assert logits[0, :4].tolist() == pytest.approx(expected["logits"], rel=1e-9)
        torch.testing.assert_close(model(x), logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_gets_a_gradient_and_a_seed_fixes_the_weights(name):
    torch.manual_seed(3)
    model = model_dict[name](num_classes=7)
    torch.manual_seed(3)
    assert all(map(torch.equal, model.state_dict().values(), model_dict[name](num_classes=7).state_dict().values()))
    assert not all(map(torch.equal, model.parameters(), model_dict[name](num_classes=7).parameters()))
    logits = model(images(2))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    for key, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), key
        assert p.dim() == 1 or p.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", FAMILIES)
def test_feature_shapes_and_the_relations_between_them(name):
    """In training mode; the last linear layer reads the last feature, and the ReLU of a pre-activation is a feature."""
    torch.manual_seed(0)
    model, x = model_dict[name](num_classes=10), images(2)
    post, logits = model(x, is_feat=True)
    pre, again = model(x, is_feat=True, preact=True)
    torch.testing.assert_close(again, logits)
    *stages, width = SHAPES[name]
    assert [tuple(f.shape) for f in post] == [(2, c, s, s) for c, s in stages] + [(2, width)]
    assert [f.shape for f in pre] == [f.shape for f in post]
    rest = {"wrn_16_1": ("fc", "bn1"), "wrn_16_2": ("fc", "bn1"), "MobileNetV2": ("classifier", "conv2"),
            "ShuffleV2": ("linear", "conv2", "bn2")}.get(name, ("fc", "linear", "classifier"))
    inside = {id(p) for p in model.get_feat_modules().parameters()}
    assert all((id(p) in inside) == (k.split(".")[0] not in rest) for k, p in model.named_parameters())
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    torch.testing.assert_close(linear(post[-1]), logits)
    if name == "MobileNetV2":
        assert all(map(torch.equal, pre, post))
        return
    assert all(f.min() < 0 for f in pre[1:-1])
    for before, after in zip(pre[1:-1], post[1:-1], strict=True):
        if name == "ShuffleV2":
            half = before.shape[1] // 2
            before = torch.stack([before[:, :half], before[:, half:]], 2).flatten(1, 2)
        if name.startswith("wrn"):
            mean, var = after.mean((0, 2, 3), keepdim=True), after.var((0, 2, 3), unbiased=False, keepdim=True)
            torch.testing.assert_close(before, (after - mean) / (var + 1e-5).sqrt(), rtol=1e-4, atol=1e-4)
        else:
            assert torch.equal(F.relu(before), after)
    pooled_from = post[-2] if not name.startswith("wrn") else F.relu(pre[-2])
    if name != "ShuffleV2":
        torch.testing.assert_close(pooled_from.mean((2, 3)), post[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_initial_distributions(name):
    """Normal by fan-out, or PyTorch's uniform of bound 1/sqrt(fan-in); distinguished by spread and by the extremes."""
    torch.manual_seed(0)
    model = model_dict[name](num_classes=100)
    uniform = name.startswith("Shuffle")
    small_linear = name.startswith("vgg") or name == "MobileNetV2"
    for key, m in model.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            assert (m.weight == 1).all() and (m.bias == 0).all()
        if isinstance(m, nn.Conv2d) and m.bias is not None:
            assert (m.bias == 0).all()
        if not isinstance(m, nn.Conv2d | nn.Linear) or m.weight.numel() < 3000:
            continue
        w = m.weight.detach()
        if isinstance(m, nn.Linear):
            normal, std = small_linear, 0.01 if small_linear else (3 * w.shape[1]) ** -0.5
            assert bool((m.bias == 0).all()) == (small_linear or name.startswith("wrn"))
        else:
            variance = 1 / (3 * w[0].numel()) if uniform else 2 / (w[0, 0].numel() * len(w))
            normal, std = not uniform, variance**0.5
        assert abs(w.std() / std - 1) < 0.05, key
        assert (w.abs().max() > 2.5 * std) if normal else (w.abs().max() <= 3**0.5 * std), key


def test_wide_resnet_counts_preactivation_norms_twice_in_training():
    model = model_dict["wrn_16_1"]().train()
    model(images(2), is_feat=True, preact=True)
    twice = {id(bn) for bn in (model.block2.layer[0].bn1, model.block3.layer[0].bn1, model.bn1)}
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            assert m.num_batches_tracked == (2 if id(m) in twice else 1)


def test_vgg_halves_once_more_only_at_64_pixels():
    model = model_dict["vgg8"]().eval()
    traced = torch.fx.symbolic_trace(model, concrete_args={"is_feat": True, "preact": False})
    for side, f3, f4 in ((32, 4, 4), (48, 6, 6), (64, 8, 4), (96, 12, 12)):
        for net in (model, traced):
            features, logits = net(images(1, side), True, False)
            assert (features[3].shape[-1], features[4].shape[-1], logits.shape) == (f3, f4, (1, 100))
