"""Distilling knowledge via knowledge review: Chen, Liu, Zhao, Jia, CVPR 2021."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Distiller
from .features import in_single
from .ranges import number
from .settings import DEFAULTS, default_weights
from .warmup import Warmup, warmup_flag

MAX_MID_CHANNEL = 512


class ABF(nn.Module):
    """Attention-based fusion, fig. 3b: a student feature with what the deeper ones left, taken to a teacher's shape.

    x (B, in_channel, h, w) goes through a 1x1 convolution to mid_channel; the residual y (B, mid_channel, ., .) is
    resized to it, and both are added with weights that a 1x1 convolution and a sigmoid read off them at each place
    (not in the deepest, fuse=False). Returns the 3x3-convolved sum (B, out_channel, *out_size), and the sum itself at
    that size as the next residual. Sizes change by nearest neighbour.
    """

    def __init__(self, in_channel: int, mid_channel: int, out_channel: int, fuse: bool):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(in_channel, mid_channel, 1, bias=False), nn.BatchNorm2d(mid_channel))
        self.conv2 = nn.Sequential(nn.Conv2d(mid_channel, out_channel, 3, padding=1, bias=False),
                                   nn.BatchNorm2d(out_channel))
        self.att_conv = nn.Sequential(nn.Conv2d(2 * mid_channel, 2, 1), nn.Sigmoid()) if fuse else None
        for conv in (self.conv1[0], self.conv2[0]):
            nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(self, x: Tensor, y: Tensor | None, out_size: Sequence[int]) -> tuple[Tensor, Tensor]:
        x = self.conv1(x)
        if self.att_conv is not None:
            y = resized(y, x.shape[2:])
            weight_x, weight_y = self.att_conv(torch.cat([x, y], dim=1)).split(1, dim=1)
            x = x * weight_x + y * weight_y
        x = resized(x, out_size)
        return self.conv2(x), x


class HCL(nn.Module):
    """Hierarchical context loss, sec. 3.3: weighted mean of the squared error at full size and at 4x4, 2x2, 1x1.

    The weights are 1, 1/2, 1/4, 1/8 in the order of the sizes below the feature's own height. Call with two lists of
    features (B, C, H, W) of equal shapes; returns the sum over them, a scalar.
    """

    @in_single
    def forward(self, g_s: list[Tensor], g_t: list[Tensor]) -> Tensor:
        return sum(self.compute_loss(s, t) for s, t in zip(g_s, g_t, strict=True))

    @staticmethod
    def compute_loss(s: Tensor, t: Tensor) -> Tensor:
        loss, weight, total = F.mse_loss(s, t), 1.0, 1.0
        for size in (4, 2, 1):
            if size < s.shape[2]:
                weight /= 2
                total += weight
                # Pooling is linear: one pass over the difference does for both features.
                loss = loss + weight * F.adaptive_avg_pool2d(s - t, size).square().mean()
        return loss / total


class ReviewKDDistiller(Distiller):
    """``--distill reviewkd``: cross-entropy + beta * :class:`HCL` of reviewed student features, with a warm-up.

    The student's f1, f2, ... and its pooled feature, deepest first, go through :class:`ABF` to the teacher's shapes;
    the teacher's are those before the ReLU, as the authors have it. The method is given shapes, so any two networks
    with as many stages will do, where the authors list shapes by name. The warm-up starts at
    1 / reviewkd_warmup as in megvii-research/mdistiller; dvlab-research/ReviewKD counts its epochs from 0.

    ``--reviewkd_preact 1`` is mdistiller's STU_PREACT, on in its ImageNet settings: the student's stages before their
    last ReLU too. It is the sum of the residual block in resnet18, the last batch norm in mobilenet_v1; mobilenet_v2
    has no ReLU there, so nothing changes. The channels inside :class:`ABF` are min(512, the student's pooled channels)
    as mdistiller computes them; dvlab-research/ReviewKD takes 256 for its MobileNet, and so does mdistiller's file for
    that pair (MAX_MID_CHANNEL), which its code does not use.

    Mixed inputs: compares features of the mixed images; cross-entropy with soft targets.
    """

    paper = "Chen, Liu, Zhao, Jia, CVPR 2021"
    weights = default_weights("reviewkd")
    preact_t = True
    min_batch = 2  # the fused pooled feature is one value a channel, and batch norm needs two
    per_epoch = ("reviewkd_warmup",)
    flags = {"reviewkd_warmup": warmup_flag(DEFAULTS["reviewkd_warmup"]),
             "reviewkd_preact": {"type": number(int, low=0, high=1), "default": DEFAULTS["reviewkd_preact"],
                                 "help": "1: the student's stage features before their last ReLU; 0: after it"}}

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.preact = bool(opt.reviewkd_preact)  # shapes are the same before and after a ReLU
        channels_s, channels_t = ([shape[1] for shape in shapes[1:]] for shapes in (pair.shapes_s, pair.shapes_t))
        mid = min(MAX_MID_CHANNEL, channels_s[-1])
        last = len(channels_s) - 1
        self.abfs = nn.ModuleList(ABF(s, mid, t, fuse=i < last)
                                  for i, (s, t) in enumerate(zip(channels_s, channels_t, strict=True)))
        self.criterion = HCL()
        self.warmup = Warmup(opt.reviewkd_warmup)

    @classmethod
    def unsupported(cls, opt, pair):
        stages_s, stages_t = len(pair.shapes_s) - 2, len(pair.shapes_t) - 2
        if stages_s != stages_t:
            return f"it needs as many stages in the student as in the teacher, not {stages_s} and {stages_t}"
        if any(len(shape) != 4 for shapes in (pair.shapes_s, pair.shapes_t) for shape in shapes[1:-1]):
            return "it needs feature maps (N, C, H, W) at every stage"
        return ""

    def begin_epoch(self, epoch):
        self.warmup.begin_epoch(epoch)

    def kd_loss(self, out_s, out_t, batch):
        feat_s, feat_t = ([*feat[1:-1], feat[-1][:, :, None, None]] for feat in (out_s[0], out_t[0]))
        reviewed, residual = [], None
        for abf, s, t in zip(reversed(self.abfs), reversed(feat_s), reversed(feat_t), strict=True):
            out, residual = abf(s, residual, t.shape[2:])
            reviewed.insert(0, out)
        return self.warmup(self.criterion(reviewed, feat_t))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, tuple(size), mode="nearest")
