"""Contrastive representation distillation: Tian, Krishnan, Isola, ICLR 2020."""
from argparse import Namespace

import torch
from torch import Tensor, nn

from .base import Distiller
from .connectors import FEAT_DIM_FLAG, Embed
from .features import unit
from .losses import at_least_single
from .ranges import number
from .sampling import ContrastSampler
from .settings import DEFAULTS, default_weights

EPS = 1e-7


class ContrastMemory(nn.Module):
    """Scores exp(v . m / T) / Z of a batch against remembered embeddings of the other network.

    inputSize: dimension of an embedding. outputSize: number of training images N. K: negatives an image. The rest is
    :class:`~distiller_zoo.sampling.ContrastSampler`'s. memory_v1 and memory_v2 (N, inputSize) remember student and
    teacher; each starts uniform in +-sqrt(3 / inputSize). Z, one for each network, is N times the mean score of the
    first batch and stays so.

    Call with embeddings v1, v2 (B, inputSize) of length 1, places y (B,) in the training set, and optionally places
    idx (B, 1 + K), positive first; returns scores (B, 1 + K) of student and teacher. Then the memories at y move to
    momentum * memory + (1 - momentum) * v, scaled to length 1. Where mixing puts one image into a batch twice, its
    last row decides; RepDistiller's result is undefined there, and without idx it draws with replacement from all
    images.

    A matrix product with the whole memory, then indexing the scores, replaces gathering B K embeddings: B N numbers
    instead of B K inputSize, and at B 64, K 16384, N 50000 over ten times faster, forward and backward, on a CPU core.
    """

    def __init__(self, inputSize: int, outputSize: int, K: int, T: float = 0.07, momentum: float = 0.5,
                 labels: Tensor | None = None, relax: bool = False, seed: int = 0):
        super().__init__()
        self.T, self.momentum = T, momentum
        self.sampler = ContrastSampler(outputSize, K, labels, relax, seed)
        bound = (3 / inputSize) ** 0.5
        for name in ("memory_v1", "memory_v2"):
            self.register_buffer(name, torch.empty(outputSize, inputSize).uniform_(-bound, bound))
        self.register_buffer("Z", torch.full((2,), -1.0))  # negative: not set yet

    def forward(self, v1: Tensor, v2: Tensor, y: Tensor, idx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if idx is None:
            idx = self.sampler(y)
        # Copies, because the memories are written before the backward pass reads them.
        out_v1, out_v2 = (torch.exp((v @ memory.clone().T).gather(1, idx) / self.T)
                          for v, memory in ((v1, self.memory_v2), (v2, self.memory_v1)))
        with torch.no_grad():
            first = torch.stack([out_v1.mean(), out_v2.mean()]) * self.memory_v1.shape[0]
            self.Z.copy_(torch.where(self.Z < 0, first, self.Z))
            self.remember(self.memory_v1, y, v1)
            self.remember(self.memory_v2, y, v2)
        Z_v1, Z_v2 = self.Z.clone()  # a copy: the next step must not change what backward reads
        return out_v1 / Z_v1, out_v2 / Z_v2

    def remember(self, memory: Tensor, y: Tensor, v: Tensor) -> None:
        new = unit(self.momentum * memory.index_select(0, y) + (1 - self.momentum) * v)
        last = ((y[:, None] == y) * torch.arange(y.shape[0], device=y.device)).amax(1)
        memory.index_copy_(0, y, new.index_select(0, last))  # rows of one image are now alike: any order will do


class ContrastLoss(nn.Module):
    """Noise-contrastive estimation, eq. 18, with m = K negatives and noise P_n = 1 / n_data:

        -1/B sum_i [ log P_i0 / (P_i0 + m P_n) + sum_k log m P_n / (P_ik + m P_n) ]

    Call with scores (B, 1 + K), positive first; returns a tensor of shape (1,), as RepDistiller's does.
    """

    def __init__(self, n_data: int):
        super().__init__()
        self.n_data = n_data

    def forward(self, x: Tensor) -> Tensor:
        noise = (x.shape[1] - 1) / self.n_data
        positive, negative = x[:, :1], x[:, 1:]
        log_D1 = torch.log(positive / (positive + noise + EPS))
        log_D0 = torch.log(noise / (negative + noise + EPS))
        return -(log_D1.sum(0) + log_D0.sum()) / x.shape[0]


class CRDLoss(nn.Module):
    """Sum of :class:`ContrastLoss` with the student and with the teacher as anchor.

    opt: s_dim, t_dim, feat_dim (dimensions of the features and of their embeddings), n_data, nce_k, nce_t, nce_m.
    labels, relax, seed: see :class:`ContrastMemory`. Call with features (B, s_dim) and (B, t_dim), places idx (B,)
    and optionally contrast_idx (B, 1 + nce_k), positive first; returns a tensor of shape (1,).
    """

    def __init__(self, opt: Namespace, labels: Tensor | None = None, relax: bool = False, seed: int = 0):
        super().__init__()
        self.embed_s = Embed(opt.s_dim, opt.feat_dim)
        self.embed_t = Embed(opt.t_dim, opt.feat_dim)
        self.contrast = ContrastMemory(opt.feat_dim, opt.n_data, opt.nce_k, opt.nce_t, opt.nce_m, labels, relax, seed)
        self.criterion_t = ContrastLoss(opt.n_data)
        self.criterion_s = ContrastLoss(opt.n_data)

    def forward(self, f_s: Tensor, f_t: Tensor, idx: Tensor, contrast_idx: Tensor | None = None) -> Tensor:
        with torch.autocast(f_s.device.type, enabled=False):  # exp(1 / nce_t) is beyond half precision
            f_s, f_t = self.embed_s(at_least_single(f_s)), self.embed_t(at_least_single(f_t))
            out_s, out_t = self.contrast(f_s, f_t, idx, contrast_idx)
            return self.criterion_s(out_s) + self.criterion_t(out_t)


class CRDDistiller(Distiller):
    """``--distill crd``: cross-entropy + beta * :class:`CRDLoss` of the pooled features.

    Both embeddings are trained, as in RepDistiller.

    Under torchrun every process has both memories and draws the negatives of the whole batch, so they stay equal.

    Mixed inputs: the anchor, its positive and its memory are those of the image with the larger weight; soft targets.
    """

    paper = "Tian, Krishnan, Isola, ICLR 2020"
    weights = default_weights("crd")
    compares_images = True
    per_image = ("nce_k",)
    flags = FEAT_DIM_FLAG | {
        "mode": {"choices": ["exact", "relax"], "default": DEFAULTS["mode"],
                 "help": "positive: the image itself (exact) or one of its class (relax)"},
        "nce_k": {"type": number(int, low=1, high=10**9), "default": DEFAULTS["nce_k"],
                  "help": "negatives an image, all of other classes"},
        "nce_t": {"type": number(float, low=0.02), "default": DEFAULTS["nce_t"], "help": "temperature of the scores"},
        "nce_m": {"type": number(float, low=0, high=1), "default": DEFAULTS["nce_m"],
                  "help": "momentum of the memories"},
    }

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        dims = {"s_dim": pair.shapes_s[-1].numel() // pair.shapes_s[-1][0], "n_data": pair.n_data,
                "t_dim": pair.shapes_t[-1].numel() // pair.shapes_t[-1][0]}
        self.criterion = CRDLoss(Namespace(**vars(opt) | dims), pair.labels, opt.mode == "relax", pair.seed)

    @classmethod
    def unsupported(cls, opt, pair):
        if pair.labels is None:
            return "it needs the labels of the training images (Pair.labels): its negatives are of other classes"
        most = ContrastSampler.most(pair.n_data, pair.labels)
        if most < 1:
            return "it needs training images of at least two classes"
        if opt.nce_k > most:
            return f"--nce_k {opt.nce_k} is more than there are training images of other classes; give {most} or less"
        return ""

    def kd_loss(self, out_s, out_t, batch):
        return self.criterion(out_s[0][-1], out_t[0][-1], batch.index).squeeze()
