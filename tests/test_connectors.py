"""Connectors: shapes, state_dict keys, what they refuse."""
import pytest
import torch

from distiller_zoo import DistillError
from distiller_zoo.connectors import Connector, ConvReg, Embed, LinearEmbed, Normalize, Paraphraser, Translator
from tests.references.features import draw


@pytest.mark.parametrize(("s", "t", "kernel"), [
    ((3, 8, 8), (5, 4, 4), (3, 3)), ((3, 4, 4), (5, 8, 8), (4, 4)), ((3, 8, 8), (5, 8, 8), (1, 1)),
    ((3, 8, 8), (5, 7, 7), (2, 2)), ((3, 8, 9), (5, 7, 7), (2, 3)), ((3, 8, 8), (5, 1, 1), (8, 8)),
])
@pytest.mark.parametrize("use_relu", [True, False])
def test_conv_reg(s, t, kernel, use_relu):
    module = ConvReg((2, *s), (2, *t), use_relu)
    out = module(draw(2, *s, dtype=torch.float32))
    assert out.shape == (2, *t) and module.conv.kernel_size == kernel
    assert (out.min() >= 0) == use_relu
    assert list(module.state_dict()) == ["conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean",
                                         "bn.running_var", "bn.num_batches_tracked"]


@pytest.mark.parametrize(("s", "t"), [((4, 4), (7, 7)), ((4, 4), (9, 9)), ((8, 4), (4, 8)), ((8, 8), (4, 6))])
def test_conv_reg_refuses_sizes_it_cannot_bridge(s, t):
    with pytest.raises(DistillError, match="can't lead from"):
        ConvReg((2, 3, *s), (2, 5, *t))


def test_embeddings():
    x = draw(3, 2, 2, 2, dtype=torch.float32)
    linear, embed = LinearEmbed(8, 5), Embed(8, 5)
    assert linear(x).shape == (3, 5)
    torch.testing.assert_close(embed(x).square().sum(1), torch.ones(3))
    assert list(embed.state_dict()) == list(linear.state_dict()) == ["linear.weight", "linear.bias"]


def test_normalize():
    x = draw(3, 4)
    for power in (2, 4):
        torch.testing.assert_close(Normalize(power)(x), x / (x**power).sum(1, keepdim=True) ** (1 / power))
    zeros = torch.zeros(2, 4, requires_grad=True)
    out = Normalize()(zeros)
    (out * draw(2, 4, dtype=torch.float32)).sum().backward()
    assert not out.any() and torch.isfinite(zeros.grad).all() and zeros.grad.abs().max() < 10


def test_connector():
    s, t = [(2, 3, 8, 8), (2, 4, 8, 8), (2, 6, 2, 2)], [(2, 3, 8, 8), (2, 5, 4, 4), (2, 7, 4, 4)]
    module = Connector(s, t)
    features = [draw(*shape, dtype=torch.float32) for shape in s]
    out = module(features)
    assert [f.shape for f in out] == t and out[0] is features[0]
    assert {key.split(".")[1] for key in module.state_dict()} == {"1", "2"}
    with pytest.raises(DistillError, match="3 and 2"):
        Connector(s, t[:2])


@pytest.mark.parametrize("use_bn", [True, False])
def test_paraphraser_and_translator(use_bn):
    f_t, f_s = draw(2, 6, 4, 4, dtype=torch.float32), draw(2, 5, 4, 4, dtype=torch.float32)
    paraphraser = Paraphraser(f_t.shape, k=0.5, use_bn=use_bn).eval()
    factor, back = paraphraser(f_t)
    assert factor.shape == (2, 3, 4, 4) and back.shape == f_t.shape
    torch.testing.assert_close(paraphraser(f_t, is_factor=True), factor)
    assert Translator(f_s.shape, f_t.shape, k=0.5, use_bn=use_bn)(f_s).shape == factor.shape
    keys = {key.rsplit(".", 1)[0] for key in paraphraser.state_dict()}
    places = (0, 1, 3, 4, 6, 7) if use_bn else (0, 3, 6)
    assert keys == {f"{part}.{place}" for part in ("encoder", "decoder") for place in places}
