"""The flags of the two training scripts: names, short forms and defaults of RepDistiller and MIX-KD, and new ones."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

import dataset
from dataset import MixSpec
from distiller_zoo import distiller_dict
from distiller_zoo.settings import pair_settings
from models import any_model

from . import ddp
from .argtypes import Parser, Stored, epoch_list, name_from, number, path, temperature, trial_list
from .ddp import local_rank0_first
from .device import FORMAT
from .errors import UserError
from .recipe import FULL, IMAGENET_RECIPE, SLOW_NETWORKS, default_rate, learning_rate_at
from .stored_runs import StoredRun

RECIPES = dict.fromkeys(dataset.FOLDERS, IMAGENET_RECIPE)  # by data set, where it is not the parsers' own defaults
DEFAULT_TEACHER = "./save/models/resnet110_vanilla/ckpt_epoch_240.pth"
LOSS_FLAGS = ("gamma", "alpha", "beta", "kd_T", "scale_T", "rescale", "init_epochs")
ALWAYS_SHOWN = ("model", "model_s", "model_t", "distill", "dataset", "epochs", "learning_rate", "mix")
# Belong to a command or a device, not to a run.
NOT_RESUMED = {"save_dir", "resume", "overwrite", "step", "kernels", "resume_every"}
COUNT, NATURAL = number(int, low=1, high=10**6), number(int, low=0, high=10**6)
WEIGHT = number(float, low=0)


def parent_of(opt: Namespace) -> str:
    """The folder under --save_dir that a training script's runs are in."""
    return "student_model" if "distill" in opt else "models"


def stored_flags(opt: Namespace) -> tuple[Path, dict[str, Any]] | None:
    """``--resume FOLDER``: the file with the folder's configuration, and those of its values that are flags' values.

    They come from a file, so they are not to be trusted before a parser has checked them as it checks a command line.
    """
    if opt.resume in (None, "auto"):
        return None
    folder, parent = Path(opt.resume), parent_of(opt)
    config = StoredRun(folder).config
    if not config:
        raise UserError(f"--resume {folder}: holds no readable args.json of a run; give the run's folder, or auto")
    if folder.resolve().parent.name != parent:
        raise UserError(f"--resume {folder}: runs of this script are in SAVE_DIR/{parent}/; move the folder there "
                        "if it is one")
    root = folder.resolve().parent.parent
    if "save_dir" in opt.given and Path(opt.save_dir).resolve() != root:
        raise UserError(f"--save_dir {opt.save_dir}: the run of --resume is under {root}; leave --save_dir out")
    if len(opt.trial) > 1:
        raise UserError("--resume FOLDER continues one trial; use --resume auto for several")
    values = {k: v for k, v in config.items() if k not in NOT_RESUMED}
    return folder / "args.json", {**values, "save_dir": str(root)}


def parse_teacher(argv: Sequence[str] | None = None, stored: Stored | None = stored_flags) -> Namespace:
    """Flags of train_teacher.py. ``stored``: see :meth:`helper.argtypes.Parser.parse`."""
    opt = teacher_parser().parse(argv, stored)
    opt.learning_rate = opt.learning_rate or default_rate(opt.model)
    return _resolved(opt)


def parse_student(argv: Sequence[str] | None = None, stored: Stored | None = stored_flags) -> Namespace:
    """Flags of train_student_mixstd.py. ``stored``: see :meth:`helper.argtypes.Parser.parse`."""
    opt = student_parser().parse(argv, stored)
    opt.learning_rate = opt.learning_rate or default_rate(opt.model_s)
    return _resolved(_with_method(opt))


def teacher_parser() -> Parser:
    """train_teacher.py's flags and their help, from which the README's table is printed too."""
    parser = Parser(usage="%(prog)s [flags]",
                    description="Train a teacher, or a student alone, and keep its checkpoints and its record.")
    parser.recipes = RECIPES
    group = parser.add_argument_group("model")
    group.add_argument("--model", type=name_from(any_model, "model"), default="resnet110",
                       help="one of " + ", ".join(any_model) + " (default resnet110)")
    group.add_argument("-t", "--trial", type=trial_list, default=["0"], metavar="IDS",
                       help="experiment id, also the seed; 1,2,3 trains three at once (default 0)")
    group.add_argument("--label_smoothing", type=number(float, low=0, high=0.999), default=0.0,
                       help="share of the target spread over all classes (default 0)")
    _add_common(parser, mix="none")
    return parser


def student_parser(methods: Iterable[str] = distiller_dict) -> Parser:
    """train_student_mixstd.py's flags and their help, the own flags of each of ``methods`` under its name."""
    parser = Parser(usage="%(prog)s [flags]", add_help=False,
                    description="Distil a student from a trained teacher, by default with MIXSTD and partial mixup.")
    parser.recipes = RECIPES
    parser.delay_help(_student_help)
    group = parser.add_argument_group("networks")
    group.add_argument("--model_s", type=name_from(any_model, "model"), default="resnet20",
                       help="student, one of " + ", ".join(any_model) + " (default resnet20)")
    group.add_argument("--path_t", type=path, default=DEFAULT_TEACHER,
                       help=f"the teacher's checkpoint, this project's or RepDistiller's, or torchvision:NAME, as "
                            f"torchvision:resnet34, which is downloaded (default {DEFAULT_TEACHER})")
    group.add_argument("--model_t", type=name_from(any_model, "model"), default=None,
                       help="the teacher's architecture (default: what the checkpoint, its name or its folder names)")
    group.add_argument("--teacher_precision", type=name_from(("same", "fp16", "bf16"), "precision"), default="same",
                       help="of the frozen teacher: fp16, bf16, or the student's (default same)")
    group.add_argument("--trial", type=trial_list, default=["1"], metavar="IDS",
                       help="trial id, also the seed; 1,2,3 distils three students at once (default 1)")
    group = parser.add_argument_group("distillation")
    group.add_argument("--distill", type=name_from(distiller_dict, "method"), default="mixstd",
                       help="one of " + ", ".join(distiller_dict) + " (default mixstd)")
    for short, name, what in (("-r", "gamma", "classification"), ("-a", "alpha", "KL divergence of the logits"),
                              ("-b", "beta", "method's own loss")):
        group.add_argument(short, f"--{name}", type=WEIGHT, default=None,
                           help=f"weight of the {what} (default: the method's)")
    group.add_argument("--kd_T", type=temperature(), default=4.0,
                       help="temperature of the KL term (default 4)")
    group.add_argument("--scale_T", type=temperature(), default=1.0,
                       help="accepted for MIX-KD's command lines; it does nothing there either (default 1)")
    group.add_argument("--rescale", type=name_from(("none", "std"), "rescaling"), default=None,
                       help="none, or std: classification and KL on logits divided by their standard deviation "
                            "(default: std for mixstd, else none)")
    group.add_argument("--init_epochs", type=NATURAL, default=30, help="first stage of two-stage methods (default 30)")
    _add_methods(parser, methods)
    _add_common(parser, mix=None)
    return parser


@cache
def default_flags(student: bool) -> dict[str, Any]:
    """Every flag of a training script with its default."""
    parser = (student_parser if student else teacher_parser)()
    return {action.dest: action.default for action in parser._actions if action.dest != "help"}


def _student_help(given: Namespace) -> str:
    """The flags common to all methods and those of the --distill given; those of all methods for --help_all."""
    if given.help == "help_all":
        return student_parser().format_help()
    method = getattr(given, "distill", "mixstd")
    parser = student_parser([method])
    own = "shown above" if distiller_dict[method].flags else "none"
    parser.epilog = f"Own flags of --distill {method}: {own}. --help_all shows those of all methods."
    return parser.format_help()


def _add_methods(parser: Parser, methods: Iterable[str]) -> None:
    """Each method's own flags under its name; a flag two methods share is declared once."""
    seen = set()
    for name in methods:
        method = distiller_dict[name]
        group = parser.add_argument_group(f"--distill {name} ({method.paper}; r, a, b = {method.weights})")
        for flag, kwargs in method.flags.items():
            if flag not in seen:
                group.add_argument(f"--{flag}", **kwargs)
                seen.add(flag)


def _add_common(parser: Parser, mix: str | None) -> None:
    group = parser.add_argument_group(
        "optimisation (imagenet and folder: 100 epochs of 256 images, rate 0.1, drops after 30,60,90, decay 1e-4)")
    group.add_argument("--epochs", type=COUNT, default=FULL["epochs"],
                       help=f"training epochs (default {FULL['epochs']})")
    group.add_argument("--batch_size", type=number(int, low=1, high=65536), default=64,
                       help="images a step; the last of an epoch may be smaller (default 64)")
    group.add_argument("--learning_rate", type=number(float, above=0), default=None,
                       help="of SGD (default 0.05; 0.01 for " + ", ".join(SLOW_NETWORKS) + "; 0.1 for every network on "
                            + " and ".join(dataset.FOLDERS) + ")")
    group.add_argument("--lr_decay_epochs", type=epoch_list, default=[150, 180, 210], metavar="LIST",
                       help="the rate drops after these epochs (default 150,180,210)")
    group.add_argument("--lr_decay_rate", type=number(float, above=0), default=0.1,
                       help="what the rate is multiplied by there (default 0.1)")
    group.add_argument("--weight_decay", type=WEIGHT, default=5e-4, help="of SGD, on every weight (default 5e-4)")
    group.add_argument("--momentum", type=number(float, low=0, high=1), default=0.9, help="of SGD (default 0.9)")
    _add_mixing(parser, mix)
    group = parser.add_argument_group("data")
    add_dataset(group)
    group.add_argument("--loader", type=name_from(dataset.LOADERS, "loader"), default="device",
                       help="device: images resident on the device; torch: torchvision and a DataLoader; same batches")
    group.add_argument("--num_workers", type=number(int, low=0, high=256), default=8,
                       help="processes of --loader torch, shared by the trials (default 8)")
    group.add_argument("--holdout", type=NATURAL, default=0, metavar="N",
                       help="validate on N class-balanced training images in place of the test set (default 0)")
    group.add_argument("--train_fraction", type=number(float, above=0, high=1), default=1.0, metavar="F",
                       help="train on this class-balanced share of the images, for quick trials (default 1)")
    _add_running(parser)


def add_dataset(group) -> None:
    """--dataset and --data_dir, the same for every command."""
    group.add_argument("--dataset", type=name_from(dataset.NAMES, "data set"), default="cifar100",
                       help="one of " + ", ".join(dataset.NAMES) + " (default cifar100)")
    group.add_argument("--data_dir", type=path, default="data",
                       help="where the data is stored, or downloaded to; " + " and ".join(dataset.FOLDERS) +
                            " have train/CLASS/ and val/CLASS/ there (default ./data)")


def _add_mixing(parser: Parser, mix: str | None) -> None:
    group = parser.add_argument_group("mixing of the inputs")
    group.add_argument("--mix", type=name_from(dataset.MIXES, "mixing"), default=mix,
                       help=f"one of {', '.join(dataset.MIXES)} (default "
                            f"{mix or 'mixup for kd and mixstd as in MIX-KD, else none'})")
    parser.add_boolean(group, "--pmixup", True, "partial mixing (PMU); off is full mixing (FMU)")
    group.add_argument("--partmixup", type=number(float, low=0, high=1), default=0.9,
                       help="share of a batch that partial mixing leaves clean, see --pmu_sampling (default 0.9)")
    group.add_argument("--pmu_sampling", type=name_from(dataset.SAMPLINGS, "sampling"), default="original",
                       help="original: clean samples drawn with replacement as in MIX-KD, so 0.9 mixes about 41 %%; "
                            "exact: without, so 0.9 mixes 10 %% (default original)")
    group.add_argument("--beta_a", type=number(float, above=0, high=1e4), default=1.0,
                       help="lambda ~ Beta(a, a), one for each sample (default 1)")


def _add_running(parser: Parser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument("--save_dir", type=path, default="save", help="where run folders go (default ./save)")
    group.add_argument("--print_freq", type=COUNT, default=100, help="steps between printed lines (default 100)")
    group.add_argument("--tb_freq", type=COUNT, default=500, help="steps between TensorBoard points of the running "
                       "loss; the originals take the flag and ignore it (default 500)")
    group.add_argument("--save_freq", type=COUNT, default=40, help="epochs between ckpt_epoch_N.pth (default 40)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    group.add_argument("--precision", type=name_from(("fp32", "tf32", "bf16"), "precision"), default=None,
                       help="fp32; tf32: convolutions in TF32; bf16: autocast to bfloat16 (default: tf32 on CUDA, fp32 "
                            "on the CPU, what torch does unasked)")
    group.add_argument("--step", type=step_kind, default=None,
                       help="graph: one CUDA graph; eager (default: graph on CUDA, eager on the CPU)")
    group.add_argument("--kernels", type=name_from(("auto", "native", "torch"), "kind of kernels"), default="auto",
                       help="3x3 convolutions and batch norms on the CPU: native (those of models/cpu_kernels, "
                            "compiled on first use), torch, or auto: native where a C++ compiler is (default auto)")
    group.add_argument("--threads", type=number(int, low=0, high=1024), default=0,
                       help="CPU threads (default: all cores)")
    parser.add_boolean(group, "--sync_bn", False, "under torchrun: batch norms over all processes' samples, on CUDA")
    group.add_argument("--on_nan", type=name_from(("stop", "skip"), "reaction to a NaN"), default="stop",
                       help="a loss that is not finite: stop at the epoch's check, or skip such steps (default stop)")
    group.add_argument("--resume", type=path, default=None, metavar="FOLDER",
                       help="continue the run in FOLDER; auto finds the run with this configuration, or starts it")
    group.add_argument("--resume_every", type=number(float, low=0, high=1e6), default=None, metavar="SECONDS",
                       help="save at most so often, always after the last epoch; a kill costs as much of the training "
                            "(default: 0, every epoch, on the CPU; 60 on CUDA)")
    parser.add_boolean(group, "--overwrite", False, "start anew in a folder that holds a run")


def _with_method(opt: Namespace) -> Namespace:
    """Fill in the method's weights and rescaling; refuse invalid combinations; warn of flags that have no effect."""
    method = distiller_dict[opt.distill]
    if opt.mix is None:
        opt.mix = method.mix
    opt.defaults["mix"] = method.mix
    apply_pair_settings(opt)
    for name, default in zip(("gamma", "alpha", "beta"), method.weights, strict=True):
        if getattr(opt, name) is None:
            setattr(opt, name, default)
    opt.rescale = opt.rescale or method.rescale
    if not (opt.gamma or opt.alpha or (opt.beta and method.adds_loss())):
        raise UserError(f"--distill {opt.distill}: the weights -r, -a, -b leave nothing to train on; give one above 0")
    if opt.batch_size < method.min_batch:
        raise UserError(f"--batch_size {opt.batch_size}: --distill {opt.distill} needs at least {method.min_batch}")
    opt.warnings = _idle_loss_flags(opt, method)
    if method.two_stage and not opt.init_epochs:
        opt.warnings.append(f"--init_epochs 0 leaves --distill {opt.distill} without its first stage")
    return opt


def apply_pair_settings(opt: Namespace) -> None:
    """Set what distiller_zoo/settings.json has for this method and pair for flags that were not given.

    Called once the teacher's architecture is known, which may be after its file has been read.
    """
    flags, source = pair_settings(opt.distill, dataset.LIKE.get(opt.dataset, opt.dataset), opt.model_t, opt.model_s)
    applied = {name: value for name, value in flags.items() if name not in opt.given | opt.stored}
    for name, value in applied.items():
        setattr(opt, name, value)
    opt.defaults |= flags  # a given flag that differs from them is part of the run's name
    opt.pair_settings = ""
    if applied:
        opt.pair_settings = " ".join(f"--{n} {v:g}" for n, v in applied.items()) + f", from {source}"
    elif opt.dataset in dataset.FOLDERS and not flags:
        opt.pair_settings = f"none of its own for --dataset {opt.dataset}; the method's general ones are CIFAR-100's"


def mixing_in_words(opt: Namespace) -> str:
    """What is mixed and which flag changes it, for the printed line."""
    if opt.mix == "none":
        return "inputs: not mixed (--mix mixup or --mix cutmix mixes them)"
    if not opt.pmixup:
        return f"inputs: {opt.mix} of all images (--mix none turns it off, --pmixup mixes a part)"
    clean = int(opt.batch_size * opt.partmixup)
    mixed = (1 - 1 / opt.batch_size) ** clean if opt.pmu_sampling == "original" else 1 - clean / opt.batch_size
    return (f"inputs: {opt.mix} of about {100 * mixed:.0f} % of the images (--mix none turns it off, --no-pmixup mixes "
            "all)")


def idle_mixing(opt: Namespace) -> set[str]:
    """Mixing flags without an effect."""
    if opt.mix == "none":
        return {"pmixup", "partmixup", "pmu_sampling", "beta_a"}
    return set() if opt.pmixup else {"partmixup", "pmu_sampling"}


def idle_loss(opt: Namespace) -> set[str]:
    """Loss flags without an effect, of this method and of all others."""
    flags = {*LOSS_FLAGS, *(flag for method in distiller_dict.values() for flag in method.flags)}
    return flags - distiller_dict[opt.distill].reads(opt)


def _idle_loss_flags(opt: Namespace, method) -> list[str]:
    """A warning for every given loss flag without an effect; not for a weight of 0, whose term is left out as given."""
    ignored = opt.given & idle_loss(opt)
    ignored -= {name for name in ("gamma", "alpha", "beta") if not getattr(opt, name)}
    why = {"kd_T": f" --rescale {opt.rescale} -a {opt.alpha:g}", "rescale": f" -r {opt.gamma:g} -a {opt.alpha:g}"}
    why |= {name: f" -b {opt.beta:g}" for name in method.flags}
    return [f"--{name} does nothing under --distill {opt.distill}{why.get(name, '')}" for name in sorted(ignored)]


def _resolved(opt: Namespace) -> Namespace:
    warnings = getattr(opt, "warnings", [])
    idle = idle_mixing(opt)
    how = f"--mix {opt.mix}" + ("" if opt.mix == "none" else " --no-pmixup")
    warnings += [f"--{name} does nothing with {how}" for name in sorted(idle & opt.given)]
    if "num_workers" in opt.given and opt.loader == "device" and opt.dataset not in dataset.FOLDERS:
        warnings.append("--num_workers does nothing with --loader device")
    try:
        learning_rate_at(opt.epochs, opt)
    except OverflowError:
        raise UserError(f"--lr_decay_rate {opt.lr_decay_rate}: the learning rate would grow beyond all numbers; "
                        "give one below 1") from None
    if opt.sync_bn and ddp.world_size() == 1:
        warnings.append("--sync_bn changes nothing in one process; start several with torchrun")
    if opt.resume and opt.overwrite:
        raise UserError("--resume and --overwrite exclude each other; give one")
    opt.warnings = warnings
    return opt


def show(opt: Namespace) -> None:
    """Print the flags that differ from their defaults and change something, then in words what is mixed, a pair's
    settings with their source, and a warning for every flag that changes nothing. args.json has all flags."""
    idle = idle_mixing(opt) | (idle_loss(opt) if "distill" in opt else set())
    for name, default in sorted(opt.defaults.items()):
        value = getattr(opt, name)
        if name not in idle and (value != default or name in ALWAYS_SHOWN):
            print(f"{name:>16} : {','.join(map(str, value)) if isinstance(value, list) else value}")
    print(f"==> {mixing_in_words(opt)}")
    if opt.pair_settings:
        print(f"==> settings of this pair: {opt.pair_settings}")
    for warning in opt.warnings:
        print(f"WARNING {warning}", flush=True)


def step_kind(text: str) -> str:
    """A value of --step. 'compile' was one: on CUDA it had no graph, and no chunk of a teacher that computes ahead had
    the compiled size."""
    if text == "compile":
        raise UserError("--step compile: removed, as graph is faster on CUDA and --kernels native as fast on the CPU; "
                        "leave --step out")
    return name_from(("graph", "eager"), "step")(text)


def data_of(opt: Namespace) -> dataset.Data:
    """The data set and its hold-out split, of the flags."""
    data = local_rank0_first(lambda: dataset.load(opt.dataset, opt.data_dir, opt.holdout, opt.train_fraction))
    print(f"data: {data.name}, {data.num_classes} classes, {len(data.train)} training images and {len(data.test)} to "
          "test on")
    if data.left_out:
        print(f"WARNING {len(data.left_out)} files under --data_dir are no images by their names and don't count, as "
              f"{data.left_out[0]}")
    return data


def loader_of(opt: Namespace, data: dataset.Data, device: torch.device, at_once: int = 1):
    """The training batches of the flags, see :func:`dataset.make_loader`. at_once: runs that read side by side."""
    mix = MixSpec(opt.mix, opt.pmixup, opt.partmixup, opt.pmu_sampling, opt.beta_a)
    return dataset.make_loader(data, opt.batch_size, mix, device, opt.loader, opt.num_workers, at_once, FORMAT,
                               ddp.share())
