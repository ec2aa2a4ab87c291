"""Modules between a student's features and a teacher's: regressors, embeddings, translators.

Layers and state_dict keys are those of RepDistiller's models/util.py. A shape is that of a feature with its batch
dimension, (N, C, H, W); only C, H and W count.
"""
from collections.abc import Sequence

from torch import Tensor, nn

from .base import DistillError
from .features import unit
from .ranges import number
from .settings import DEFAULTS

Shape = Sequence[int]

FEAT_DIM_FLAG = {"feat_dim": {"type": number(int, low=1, high=65536), "default": DEFAULTS["feat_dim"],
                              "help": "dimension of the embeddings of both networks"}}


class ConvReg(nn.Module):
    """FitNets' regressor (Romero et al., ICLR 2015): convolution, batch norm and, with use_relu, ReLU.

    Takes the student's (N, C_s, H_s, W_s) to the teacher's (N, C_t, H_t, W_t): by a 3x3 convolution of stride 2 where
    H_s = 2 H_t, by a 4x4 transposed one of stride 2 where 2 H_s = H_t, else, if the student's is no smaller, by an
    unpadded convolution of the sizes' difference plus one. Raises :class:`DistillError` for any other sizes.
    """

    def __init__(self, s_shape: Shape, t_shape: Shape, use_relu: bool = True):
        super().__init__()
        if reason := self.unsupported(s_shape, t_shape):
            raise DistillError(reason)
        self.use_relu = use_relu
        (_, s_C, s_H, s_W), (_, t_C, t_H, t_W) = s_shape, t_shape
        if s_H == 2 * t_H:
            self.conv = nn.Conv2d(s_C, t_C, kernel_size=3, stride=2, padding=1)
        elif s_H * 2 == t_H:
            self.conv = nn.ConvTranspose2d(s_C, t_C, kernel_size=4, stride=2, padding=1)
        else:
            self.conv = nn.Conv2d(s_C, t_C, kernel_size=(1 + s_H - t_H, 1 + s_W - t_W))
        self.bn = nn.BatchNorm2d(t_C)
        self.relu = nn.ReLU(inplace=True)

    @staticmethod
    def unsupported(s_shape: Shape, t_shape: Shape) -> str:
        """Why no regressor leads from one shape to the other, or an empty string."""
        if len(s_shape) != 4 or len(t_shape) != 4:
            return f"a convolutional regressor needs feature maps (N, C, H, W), not {[*s_shape]} and {[*t_shape]}"
        (s_H, s_W), (t_H, t_W) = s_shape[2:], t_shape[2:]
        halved = (s_H, s_W) == (2 * t_H, 2 * t_W)
        doubled = (2 * s_H, 2 * s_W) == (t_H, t_W)
        cut = s_H >= t_H and s_W >= t_W and s_H != 2 * t_H
        if halved or doubled or cut:
            return ""
        return f"a convolutional regressor can't lead from {s_H}x{s_W} (student) to {t_H}x{t_W} (teacher)"

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return self.relu(x) if self.use_relu else x


class LinearEmbed(nn.Module):
    """(N, ...) flattened to (N, dim_in), then one linear layer to (N, dim_out)."""

    def __init__(self, dim_in: int = 1024, dim_out: int = 128):
        super().__init__()
        self.linear = nn.Linear(dim_in, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


class Normalize(nn.Module):
    """Rows divided by their power-norm over dimension 1; a zero row stays zero, with a finite gradient.

    RepDistiller gives NaN for a zero row, and sums signed powers, which is a norm for even powers only.
    """

    def __init__(self, power: float = 2):
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return unit(x, dim=1, power=self.power)


class Embed(LinearEmbed):
    """:class:`LinearEmbed`, then scaled to Euclidean length 1."""

    def __init__(self, dim_in: int = 1024, dim_out: int = 128):
        super().__init__(dim_in, dim_out)
        self.l2norm = Normalize(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.l2norm(super().forward(x))


class Connector(nn.Module):
    """A :class:`ConvReg` without ReLU for each pair of features, the identity where their shapes agree already.

    Heo et al., AAAI 2019. Call with the student's list of (N, C, H, W); returns a list of the teacher's shapes.
    Raises :class:`DistillError` where the lists differ in length or a :class:`ConvReg` can't be made.
    """

    def __init__(self, s_shapes: Sequence[Shape], t_shapes: Sequence[Shape]):
        super().__init__()
        if len(s_shapes) != len(t_shapes):
            raise DistillError(f"a connector needs as many student features as teacher features, "
                               f"not {len(s_shapes)} and {len(t_shapes)}")
        self.s_shapes, self.t_shapes = s_shapes, t_shapes
        self.connectors = nn.ModuleList(
            nn.Sequential() if tuple(s[1:]) == tuple(t[1:]) else ConvReg(s, t, use_relu=False)
            for s, t in zip(s_shapes, t_shapes, strict=True))

    def forward(self, g_s: Sequence[Tensor]) -> list[Tensor]:
        return [connector(f) for connector, f in zip(self.connectors, g_s, strict=True)]


def _leaky(convs: Sequence[nn.Module], use_bn: bool) -> nn.Sequential:
    """Each convolution, batch norm (or an empty place that keeps the numbering) and LeakyReLU of slope 0.1."""
    layers: list[nn.Module] = []
    for conv in convs:
        norm = nn.BatchNorm2d(conv.out_channels) if use_bn else nn.Sequential()
        layers += [conv, norm, nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


def _encoder(in_channel: int, out_channel: int, use_bn: bool) -> nn.Sequential:
    return _leaky([nn.Conv2d(in_channel, in_channel, 3, 1, 1), nn.Conv2d(in_channel, out_channel, 3, 1, 1),
                   nn.Conv2d(out_channel, out_channel, 3, 1, 1)], use_bn)


class Paraphraser(nn.Module):
    """Factor transfer's teacher side (Kim et al., NeurIPS 2018): (N, C, H, W) to factors (N, int(C k), H, W) and back.

    Call with is_factor=True for the factors alone, else returns (factors, reconstruction).
    """

    def __init__(self, t_shape: Shape, k: float = 0.5, use_bn: bool = False):
        super().__init__()
        channel, factor = t_shape[1], int(t_shape[1] * k)
        self.encoder = _encoder(channel, factor, use_bn)
        self.decoder = _leaky(
            [nn.ConvTranspose2d(factor, factor, 3, 1, 1), nn.ConvTranspose2d(factor, channel, 3, 1, 1),
             nn.ConvTranspose2d(channel, channel, 3, 1, 1)], use_bn)

    def forward(self, f_s: Tensor, is_factor: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        factor = self.encoder(f_s)
        return factor if is_factor else (factor, self.decoder(factor))


class Translator(nn.Module):
    """Factor transfer's student side: (N, C_s, H, W) to factors (N, int(C_t k), H, W)."""

    def __init__(self, s_shape: Shape, t_shape: Shape, k: float = 0.5, use_bn: bool = True):
        super().__init__()
        self.encoder = _encoder(s_shape[1], int(t_shape[1] * k), use_bn)

    def forward(self, f_s: Tensor) -> Tensor:
        return self.encoder(f_s)
