"""From a command line to the first step of a run: data, networks, engine."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import torch
from torch import nn

import dataset
from distiller_zoo import Distiller
from models import any_model, cpu_kernels
from models.synchronised import synchronised

from . import ddp
from .argtypes import seed_of
from .commits import warn_of_other
from .device import FORMAT, set_precision
from .engine import Engine
from .errors import UserError
from .fit import Fit
from .graphs import CudaEngine, GraphEngine
from .options import data_of, loader_of
from .run import BUSY, Run
from .stored_runs import StoredRun
from .teacher import Teacher
from .together import Cache, Outcome


def data_key(opt: Namespace) -> tuple:
    """Flags that select the images."""
    return opt.dataset, opt.data_dir, opt.holdout, opt.train_fraction


def shared_data(opt: Namespace, cache: Cache) -> dataset.Data:
    return cache(("data", data_key(opt)), lambda: data_of(opt))


def find_run(opt: Namespace, cache: Cache) -> Run:
    """:meth:`helper.run.Run.find`. A user's own images, which count in the identity by their names, are loaded for it;
    of other data a finished run needs none."""
    images = shared_data(opt, cache).sha256 if opt.dataset in dataset.FOLDERS else None
    run = ddp.from_rank0(lambda: Run.find(opt, images))
    if opt.precision != run.config["precision"]:
        opt.precision = run.config["precision"]
        set_precision(opt.precision, torch.device(opt.device))
        print(f"==> --precision {opt.precision}, with which the run began")
    return run


def test_batches(opt: Namespace, data: dataset.Data, device: torch.device, cache: Cache) -> Callable:
    """Callable that returns a new iterator over the validation images."""
    return cache(("test", data_key(opt), str(device)), lambda: dataset.make_test_batches(
        data, device, FORMAT, opt.num_workers, ddp.share()))


def make_engine(opt: Namespace, name: str, num_classes: int, device: torch.device, method: Callable[[int], Distiller],
                teacher: Teacher | None = None) -> Engine:
    """The engine of ``opt``'s trial, network and method drawn from its seed alone.

    name: of the network that is trained. method: from a seed to the (new) method, called under that seed.
    """
    seed = seed_of(opt.trial[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = any_model[name](num_classes=num_classes)
        criterion = method(seed)
    model = model.to(device).to(memory_format=FORMAT)
    if opt.kernels == "native":
        model = cpu_kernels.accelerate(model)
    criterion = criterion.to(device).to(memory_format=FORMAT)  # connectors as the features they read
    if ddp.world_size() > 1 and opt.sync_bn:
        model, criterion = synchronised(model), synchronised(criterion)
    engine = GraphEngine if opt.step == "graph" else CudaEngine if device.type == "cuda" else Engine
    return (ddp.parallel(engine) if ddp.world_size() > 1 else engine)(opt, model, criterion, teacher)


def make_fit(opt: Namespace, engine: Engine, data: dataset.Data, run: Run, arch: str, role: str,
             cache: Cache) -> Fit:
    """The run with its folder locked and what is resumed restored."""
    device = engine.device
    flags = opt.batch_size, opt.mix, opt.pmixup, opt.partmixup, opt.pmu_sampling, opt.beta_a, opt.loader
    loader = cache(("loader", data_key(opt), str(device), flags, opt.num_workers),
                   lambda: loader_of(opt, data, device, cache.at_once))
    about = {"arch": arch, "num_classes": data.num_classes, "dataset": data.name, "role": role,
             "classes": list(data.classes)}
    measured = {"teacher_top1": engine.teacher.top1} if engine.teacher else {}
    fit = Fit(opt, engine, loader, test_batches(opt, data, device, cache), about, measured)
    if run.folder in cache.folders:
        raise UserError(f"{run.folder}: another run of this command, of equal flags and teacher's weights, {BUSY}; "
                        "leave one out")
    run.begin(fit)
    cache.folders.add(run.folder)
    return fit


def finished(run: Run) -> Outcome:
    """Of a run that --resume finds complete."""
    stored = StoredRun(run.folder)
    summary = stored.summary
    warn_of_other(run.folder, stored.commits)
    print(f"==> {run.folder} is finished: last accuracy {summary['last_top1']:.2f}, "
          f"best accuracy {summary['best_top1']:.2f} after {summary['epochs']} epochs")
    return Outcome("finished", run.folder, "", summary["last_top1"], summary["best_top1"])
