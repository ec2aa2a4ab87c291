"""Where a run computes, and with which arithmetic."""
from __future__ import annotations

import contextlib
import os
from argparse import Namespace

import torch

from models import cpu_kernels

from . import ddp
from .errors import UserError

FORMAT = torch.channels_last  # what cuDNN's tensor cores and oneDNN's blocked kernels read without a copy
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}  # what autocast computes in; fp16 is for a frozen teacher alone


def resolve_device(opt: Namespace, uncapturable: str = "") -> torch.device:
    """Fill in device, precision, step and kernels as they will be used, and print what was chosen and why."""
    device = pick_device(ddp.device_of(opt.device))
    opt.device = str(device)
    ddp.check_flags(opt)
    opt.precision = opt.precision or default_precision(device)
    if opt.step == "graph" and device.type != "cuda":
        raise UserError("--step graph: a CUDA graph needs --device cuda; on the CPU use eager")
    opt.step = opt.step or ("graph" if device.type == "cuda" else "eager")
    if opt.precision == "tf32" and device.type == "cpu":
        print("WARNING --precision tf32 changes nothing on the CPU")
    if opt.step == "graph" and opt.on_nan == "skip":
        uncapturable = "--on_nan skip reads every loss"
    if opt.step == "graph" and ddp.world_size() > 1:
        uncapturable = "several processes exchange gradients within the step"
    if opt.step == "graph" and uncapturable:
        print(f"==> --step eager in place of graph: {uncapturable}")
        opt.step = "eager"
    if opt.resume_every is None:
        opt.resume_every = 60.0 if device.type == "cuda" else 0.0  # there an epoch takes two seconds, a save part of it
    opt.kernels = _pick_kernels(opt, device)
    set_threads(opt.threads)
    set_precision(opt.precision, device)
    return device


def _pick_kernels(opt: Namespace, device: torch.device) -> str:
    """native or torch; ``--kernels auto`` prefers native; ``--kernels native`` requires it."""
    required, unfit = opt.kernels == "native", ""
    if device.type != "cpu":
        unfit = f"they are for the CPU, not for --device {opt.device}"
    elif opt.kernels != "torch":
        try:
            cpu_kernels.load()
        except cpu_kernels.Unavailable as error:
            unfit = str(error)
            if not required:
                print(f"==> --kernels torch, which are slower: {error}")
    if required and unfit:
        raise UserError(f"--kernels native: {unfit}; use --kernels auto")
    return "torch" if unfit or opt.kernels == "torch" else "native"


def pick_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one, otherwise the CPU; 'cpu', 'cuda' and 'cuda:1' are themselves."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"--device {name}: torch {torch.__version__} finds no CUDA device; use --device cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0")
        if device.index is not None:  # set_device needs a number; plain "cuda" is the current device
            torch.cuda.set_device(device)
    return device


DEFAULT_PRECISIONS = ("fp32", "tf32")  # of the CPU, of CUDA


def default_precision(device: torch.device) -> str:
    """torch's own default: on CUDA cuDNN's convolutions in TF32, on the CPU single precision."""
    return "tf32" if device.type == "cuda" else "fp32"


def set_precision(precision: str, device: torch.device) -> None:
    """fp32: IEEE single everywhere, in cuDNN's convolutions and recurrent layers and in cuBLAS. tf32: cuDNN's default,
    convolutions in TF32, matrix products in single precision. On the CPU there is nothing to set.

    bf16 adds autocast (:func:`autocast`) to tf32; the optimiser's weights stay in single precision.
    """
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = True  # shapes are fixed, so the search pays within the first steps
    allow = precision != "fp32"
    if hasattr(torch.backends.cudnn, "conv"):  # torch 2.9 renamed the switches; mixing old and new ones is an error
        cudnn = torch.backends.cudnn
        for switch in (cudnn, cudnn.conv, cudnn.rnn):
            switch.fp32_precision = "tf32" if allow else "ieee"
        torch.backends.cuda.matmul.fp32_precision = "ieee"
    else:
        torch.backends.cudnn.allow_tf32 = allow
        torch.backends.cuda.matmul.allow_tf32 = False


def autocast(precision: str, device: torch.device):
    """Context of the forward passes. The cast cache is off: under a CUDA graph a cached cast would go stale."""
    if precision not in HALF:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=HALF[precision], cache_enabled=False)


def set_threads(threads: int) -> None:
    """Threads of the CPU kernels; 0 leaves torch's choice, all cores the process may use."""
    if threads:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ and hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def describe(device: torch.device) -> str:
    """The hardware's name, for args.json and the tables."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {torch.get_num_threads()} threads"
    return f"CPU, {torch.get_num_threads()} threads"
