"""Networks for ImageNet compared with torchvision's, and torchvision's weights as a teacher."""
import copy
import math
import urllib.error

import pytest
import torch
import torch.nn.functional as F
from torchvision import models

from helper.errors import UserError
from helper.teacher import read_teacher
from models import any_model, imagenet_dict
from models.folding import folded
from tests.support.networks import assert_same_function, images, with_trained_norms

TORCHVISION = sorted(set(imagenet_dict) & set(models.list_models()))
CHANNELS = {"resnet18": (64, 64, 128, 256, 512, 512), "resnet34": (64, 64, 128, 256, 512, 512),
            "resnet50": (64, 256, 512, 1024, 2048, 2048), "mobilenet_v1": (32, 128, 256, 512, 1024, 1024),
            "mobilenet_v2": (32, 24, 32, 96, 320, 1280)}


def large_ones_slow(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in ("resnet34", "resnet50") else name for name in names]


def some(n=2, size=64):
    return images(n, 3, size, size)


@pytest.mark.parametrize("name", large_ones_slow(TORCHVISION))
def test_torchvision_weights_load_and_give_torchvision_logits(name):
    theirs = with_trained_norms(models.get_model(name, weights=None, num_classes=10)).eval()
    net = any_model[name](num_classes=10).eval()
    assert list(net.state_dict()) == list(theirs.state_dict())
    net.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(net(some()), theirs(some()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", large_ones_slow(imagenet_dict))
def test_features_and_preactivations(name):
    net = with_trained_norms(any_model[name](num_classes=10)).eval()
    with torch.no_grad():
        features, logits = net(some(), is_feat=True)
        before, same = net(some(), is_feat=True, preact=True)
        torch.testing.assert_close(net(some()), logits)
    first = 16 if name.startswith("resnet") else 32
    assert [tuple(f.shape) for f in features] == [
        (2, c, size, size) if size else (2, c)
        for c, size in zip(CHANNELS[name], (first, 16, 8, 4, 2, 0), strict=True)]
    assert torch.equal(same, logits)
    inside = {id(p) for p in net.get_feat_modules().parameters()}
    assert all((id(p) in inside) == (key.split(".")[0] not in ("fc", "classifier"))
               for key, p in net.named_parameters())
    for after, pre in zip(features[1:-1], before[1:-1], strict=True):
        torch.testing.assert_close(after, pre if name == "mobilenet_v2" else F.relu(pre))
        assert name == "mobilenet_v2" or (pre < 0).any()
    assert_same_function(folded(net), copy.deepcopy(net).double(), some(), 1e-4)


def test_mobilenet_v1_is_the_network_used_in_distillation():
    net = any_model["mobilenet_v1"](num_classes=1000)
    assert sum(p.numel() for p in net.parameters()) == 4_231_976
    keys = list(net.state_dict())
    assert keys[0] == "model.0.0.weight" and "model.13.4.running_var" in keys and keys[-2:] == ["fc.weight", "fc.bias"]
    assert net.eval()(some(1, 224), is_feat=True)[0][4].shape == (1, 1024, 7, 7)


# torchvision's weights as a teacher --------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch.hub's folder of downloads, without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refused(*args, **kwargs):
        raise urllib.error.URLError("no network")
    monkeypatch.setattr(torch.hub, "urlopen", refused)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvision_weights_from_its_cache(cache):
    weights = models.resnet18(num_classes=1000).state_dict()
    torch.save(weights, cache / models.ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1])
    found = read_teacher("torchvision:resnet18")
    assert found.arch == "resnet18" and all(torch.equal(found.weights[k], w) for k, w in weights.items())


@pytest.mark.parametrize("path, arch, words", [
    ("torchvision:resnet34", None, ("no network", "https://", "--model_t resnet34")),
    ("torchvision:resnet34:V9", None, ("IMAGENET1K_V1",)),
    ("torchvision:mobilenet_v1", None, ("resnet50", "mobilenet_v2")),
    ("torchvision:resnet34", "resnet18", ("--model_t", "leave")),
])
def test_weights_that_cannot_be_fetched_are_refused_in_one_line(cache, path, arch, words):
    with pytest.raises(UserError) as refusal:
        read_teacher(path, arch)
    assert all(word in str(refusal.value) for word in words) and "\n" not in str(refusal.value), refusal.value


def test_initial_weights_have_torchvisions_scale():
    torch.manual_seed(0)
    net = any_model["resnet18"]()
    expected = math.sqrt(2 / (9 * 512))
    assert net.layer4[1].conv2.weight.std().item() == pytest.approx(expected, rel=0.01)
