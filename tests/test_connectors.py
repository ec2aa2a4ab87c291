"""Connectors: functions, state_dict keys, refusals."""
import pytest
import torch
import torch.nn.functional as F

from distiller_zoo import DistillError
from distiller_zoo.connectors import Connector, ConvReg, Embed, LinearEmbed, Normalize, Paraphraser, Translator
from tests.support.draws import draw


def batch_norm(x):
    return F.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize(("s", "t", "kernel", "how"), [
    ((3, 8, 8), (5, 4, 4), (3, 3), {"stride": 2, "padding": 1}), ((3, 8, 8), (5, 8, 8), (1, 1), {}),
    ((3, 8, 9), (5, 7, 7), (2, 3), {}), ((3, 4, 4), (5, 8, 8), (4, 4), {"stride": 2, "padding": 1})])
def test_conv_reg_bridges_sizes(s, t, kernel, how):
    """A convolution from one size to the other (transposed for a larger one), batch norm, ReLU."""
    module, x = ConvReg((2, *s), (2, *t), use_relu=True).double(), draw(2, *s)
    convolve = F.conv_transpose2d if t[1] > s[1] else F.conv2d
    assert module.conv.kernel_size == kernel
    torch.testing.assert_close(module(x), batch_norm(convolve(x, module.conv.weight, module.conv.bias, **how)).relu())
    assert ConvReg((2, *s), (2, *t), use_relu=False).double()(x).min() < 0
    assert list(module.state_dict()) == ["conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean",
                                         "bn.running_var", "bn.num_batches_tracked"]


def test_embeddings():
    x, linear, embed = draw(3, 2, 2, 2), LinearEmbed(8, 5).double(), Embed(8, 5).double()
    for module in (linear, embed):
        y = x.flatten(1) @ module.linear.weight.T + module.linear.bias
        torch.testing.assert_close(module(x), y if module is linear else y / y.square().sum(1, keepdim=True).sqrt())
        assert list(module.state_dict()) == ["linear.weight", "linear.bias"]


def test_normalize_divides_by_the_norm():
    x = draw(3, 4)
    for power in (2, 4):
        torch.testing.assert_close(Normalize(power)(x), x / (x**power).sum(1, keepdim=True) ** (1 / power))
    zeros = torch.zeros(2, 4, requires_grad=True)
    (Normalize()(zeros) * draw(2, 4).float()).sum().backward()
    assert torch.isfinite(zeros.grad).all() and zeros.grad.abs().max() < 10


def test_a_connector_maps_stage_by_stage():
    s, t = [(2, 3, 8, 8), (2, 4, 8, 8), (2, 6, 2, 2)], [(2, 3, 8, 8), (2, 5, 4, 4), (2, 7, 4, 4)]
    module, features = Connector(s, t), [draw(*shape).float() for shape in s]
    out = module(features)
    assert [f.shape for f in out] == t and out[0] is features[0] and out[1].min() < 0
    assert {key.split(".")[1] for key in module.state_dict()} == {"1", "2"}
    with pytest.raises(DistillError, match="3 and 2"):
        Connector(s, t[:2])


@pytest.mark.parametrize("use_bn", [True, False])
def test_paraphraser_and_translator(use_bn):
    """Three 3x3 convolutions each, with or without batch norm, and leaky ReLUs of slope 0.1."""
    f_t, f_s = draw(2, 6, 4, 4), draw(2, 5, 4, 4)

    def apply_convolutions(part, x, convolve):
        for place in (0, 3, 6):
            x = convolve(x, part[place].weight, part[place].bias, padding=1)
            x = F.leaky_relu(batch_norm(x) if use_bn else x, 0.1)
        return x
    paraphraser = Paraphraser(f_t.shape, k=0.5, use_bn=use_bn).double()
    factor, back = paraphraser(f_t)
    torch.testing.assert_close(factor, apply_convolutions(paraphraser.encoder, f_t, F.conv2d))
    torch.testing.assert_close(back, apply_convolutions(paraphraser.decoder, factor, F.conv_transpose2d))
    torch.testing.assert_close(paraphraser(f_t, is_factor=True), factor)
    translator = Translator(f_s.shape, f_t.shape, k=0.5, use_bn=use_bn).double()
    torch.testing.assert_close(translator(f_s), apply_convolutions(translator.encoder, f_s, F.conv2d))
    assert factor.shape == (2, 3, 4, 4) == translator(f_s).shape
