"""Several processes under torchrun, on the CPU with gloo: one process's run, to rounding; one writer; no hanging."""
import copy
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from dataset import MixSpec, make_loader, make_test_batches
from helper import checkpoint
from models import model_dict
from models.synchronised import SyncBatchNorm2d, synchronised
from tests.conftest import ROOT
from tests.support import several, small_runs
from tests.support.images import make_tree
from tests.support.small_runs import no_pictures  # noqa: F401 - a fixture
from tests.support.training import small_data

pytestmark = pytest.mark.slow

LIMIT = 240  # seconds, after which processes count as hung
SIZE = ["--dataset", "digits", "--holdout", "20", "--train_fraction", "0.03", "--batch_size", "16", "--epochs", "1",
        "--learning_rate", "0.005", "--kernels", "torch", "--print_freq", "1", "--tb_freq", "2"]
# 43 images: the last batch is 11, 5 and 6. Few steps, because a ReLU's kink multiplies rounding: after two epochs one
# process whose first weights are changed by 1e-7 is 4e-5 away from itself.
METHODS = {"kd": ["--distill", "kd", "--mix", "mixup"],
           "mixstd": ["--distill", "mixstd", "--mix", "cutmix", "--no-pmixup", "--loader", "torch",
                      "--num_workers", "1"],
           "vid": ["--distill", "vid"],
           "crd": ["--distill", "crd", "--nce_k", "20", "--feat_dim", "16"],
           "similarity": ["--distill", "similarity", "-b", "1"],
           "rkd": ["--distill", "rkd", "--mix", "none", "-b", "0.1"],
           "dist": ["--distill", "dist", "--on_nan", "skip", "-b", "0.05"],
           "abound": ["--distill", "abound", "--init_epochs", "1", "--learning_rate", "0.0002"]}

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--log-dir", os.devnull]  # no logs in the temporary folder


def start(jobs, folder, processes=2, **environment):
    """torchrun with trainings (role, flags), as a process whose output goes to a file."""
    folder.mkdir(exist_ok=True)
    file, log = folder / "jobs.json", folder / "log"
    file.write_text(json.dumps([[role, list(map(str, flags))] for role, flags in jobs]))
    command = [sys.executable, *TORCHRUN, f"--nproc_per_node={processes}", "-m", "tests.support.several", str(file)]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                   env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
    process.log = log
    return process


def ended(process):
    """(status, output). Processes that hang are killed, which fails the test."""
    try:
        return process.wait(LIMIT), process.log.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # torchrun ends its own; they are in groups of theirs
            try:
                process.wait(60)
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def together(jobs, folder, processes=2, **environment):
    status, log = ended(start(jobs, folder, processes, **environment))
    assert status == 0, log
    return log


def alone(role, flags):
    """The same training in one process, this one."""
    torch.manual_seed(0)
    with several.group_norms():
        done = small_runs.call(small_runs.MAINS[role], [*flags, "--device", "cpu", "--threads", 1])
    assert done.status == 0, done.err
    return done.out


def the_run(save, role="student"):
    return small_runs.only_run(save, role)


def same(one, other, where="", near=1e-5):
    """Nested states of two runs: weights and memories to ``near``, sums and momenta by their size, all else exactly."""
    if isinstance(one, torch.Tensor) and one.is_floating_point():
        atol = near if where.startswith((".model", ".method")) else 1e-3 * one.abs().max().item()
        torch.testing.assert_close(other, one, rtol=1e-5, atol=atol, msg=lambda text: f"{where}: {text}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            if name not in ("seconds", "images_per_s", "config", "rng"):
                same(one[name], other[name], f"{where}.{name}", near)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}[{i}]", near)
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-4), where
    else:
        assert one == other, where


def same_runs(one, other, role="student", near=1e-5):
    a, b = the_run(one, role), the_run(other, role)
    assert a.name == b.name
    same(checkpoint.load(a / "resume.pth"), checkpoint.load(b / "resume.pth"), near=near)


def files(save):
    """All files below a folder; TensorBoard's name holds a time and a process."""
    return sorted(str(file.relative_to(save)).split("tfevents")[0] for file in save.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A resnet14, trained a little: with batch norms, which a frozen teacher may have."""
    save = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several.Run, "write_curves", lambda self, history: None)
        small_runs.call(small_runs.MAINS["teacher"],
                        [*SIZE, "--model", "resnet14", "--save_dir", save, "--device", "cpu", "--threads", 1])
    return the_run(save, "teacher") / "resnet14_last.pth"


@pytest.fixture(scope="module")
def student(teacher):
    def flags(name, save, *more):
        return [*SIZE, "--model_s", "resnet8", "--path_t", str(teacher), *METHODS[name], "--save_dir", str(save), *more]
    return flags


SINGLE = ("kd", "mixstd")  # in single precision too; every method in double


@pytest.fixture(scope="module")
def two(student, tmp_path_factory):
    """Students and a teacher, trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    jobs = [("student", student(name, folder / name)) for name in SINGLE]
    jobs.append(("teacher", [*SIZE, "--model", "resnet8", "--save_dir", folder / "teacher"]))
    log = together(jobs, folder)
    return folder, log


# -b stands last where it stands: without it the methods have their own weights
DOUBLE = {name: flags[:flags.index("-b")] if "-b" in flags else flags for name, flags in METHODS.items()}
DOUBLE["abound"] = ["--distill", "abound", "--init_epochs", "1"]
LONGER = ["--epochs", "3", "--learning_rate", "0.05", "--lr_decay_epochs", "2"]


def test_in_double_precision_it_is_the_same_run(student, teacher, tmp_path):
    """Every method with its own weights, at the recipe's rate, over three epochs: to 1e-9, so no rounding explains a
    difference. pkt and correlation too, which compare the images of a batch as well."""
    jobs = {**DOUBLE, "pkt": ["--distill", "pkt"], "correlation": ["--distill", "correlation", "--feat_dim", "16"]}

    def flags(name, save):
        return [*SIZE, "--model_s", "resnet8", "--path_t", str(teacher), *LONGER, *jobs[name], "--save_dir", str(save)]
    together([("student", flags(name, tmp_path / "two" / name)) for name in jobs], tmp_path / "two", SEVERAL_DOUBLE="1")
    for name in jobs:
        with several.group_norms(), several.double_precision():
            torch.manual_seed(0)
            done = small_runs.call(small_runs.MAINS["student"], [*flags(name, tmp_path / "one" / name), "--device",
                                                                 "cpu", "--threads", 1])
        assert done.status == 0, done.err
        a, b = (checkpoint.load(the_run(tmp_path / where / name) / "resume.pth") for where in ("one", "two"))
        for part in ("model", "method"):
            for key, value in a[part].items():
                if value.is_floating_point():
                    assert value.dtype == torch.float64, (name, key)
                    scale = max(1.0, value.abs().max().item())
                    assert (value - b[part][key]).abs().max().item() <= 1e-9 * scale, (name, part, key)


@pytest.mark.parametrize("mix, kind, batch, processes", [("none", "device", 7, 2), ("mixup", "device", 16, 3),
                                                        ("mixup", "torch", 7, 2), ("cutmix", "device", 40, 4)])
def test_the_shares_are_the_batch(mix, kind, batch, processes):
    def batches(share):
        loader = make_loader(small_data(n=38), batch, MixSpec(mix), "cpu", kind, 0, share=share)
        return list(loader.epoch(1, 2))
    whole = batches((0, 1))
    shares = [batches((rank, processes)) for rank in range(processes)]
    for step, one in enumerate(whole):
        assert all(share[step].total == len(one.labels) for share in shares)
        for name in ("images", "targets", "labels", "index", "mixed"):
            parts = [getattr(share[step], name) for share in shares]
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            assert torch.equal(torch.cat(parts), getattr(one, name)), name


def test_a_share_is_resumed_at_any_step():
    loader = make_loader(small_data(n=38), 7, MixSpec("mixup"), "cpu", share=(1, 2))
    for one, other in zip(list(loader.epoch(1, 2))[3:], loader.epoch(1, 2, start=3), strict=True):
        assert torch.equal(one.images, other.images)


def test_test_batches_are_dealt_out():
    data = small_data()
    whole = list(make_test_batches(data, "cpu")())
    dealt = [list(make_test_batches(data, "cpu", share=(rank, 3))()) for rank in range(3)]
    assert sum(map(len, dealt)) == len(whole) and sum(len(y) for share in dealt for _, y in share) == len(data.test)


@pytest.mark.parametrize("name", SINGLE)
def test_two_processes_train_what_one_trains(name, two, student, tmp_path, no_pictures):  # noqa: F811
    alone("student", student(name, tmp_path))
    same_runs(tmp_path, two[0] / name)
    assert files(tmp_path) == files(two[0] / name)  # one writer


def test_a_teacher_too(two, tmp_path, no_pictures):  # noqa: F811
    alone("teacher", [*SIZE, "--model", "resnet8", "--save_dir", tmp_path])
    same_runs(tmp_path, two[0] / "teacher", "teacher")


def test_folders_of_images(tmp_path, no_pictures):  # noqa: F811
    """Each process decodes its share of a batch; validation is dealt out."""
    common = ["--dataset", "folder", "--data_dir", make_tree(tmp_path / "images", train=5), "--epochs", "1",
              "--learning_rate", "0.005", "--batch_size", "6", "--num_workers", "1", "--kernels", "torch",
              "--mix", "cutmix", "--save_dir"]
    jobs = {"teacher": ["--model", "resnet8"], "student": ["--model_s", "resnet8"]}
    for save in ("one", "two"):
        for role, flags in jobs.items():
            if role == "student":
                flags = [*flags, "--path_t", the_run(tmp_path / save, "teacher") / "resnet8_last.pth"]
            if save == "one":
                alone(role, [*common, tmp_path / save, *flags])
            else:
                together([(role, [*common, tmp_path / save, *flags])], tmp_path / f"log_{role}")
    same_runs(tmp_path / "one", tmp_path / "two", "teacher")
    one, two = (checkpoint.load(the_run(tmp_path / save) / "resume.pth") for save in ("one", "two"))
    same(one["model"], two["model"], ".model")
    assert one["history"][0]["test_acc"] == two["history"][0]["test_acc"]


def test_what_is_printed(two):
    folder, log = two
    assert log.count("==> 2 processes: batches of 16, 8 in each; learning rate 0.0") == 3
    assert log.count(" * Epoch 1/1  lr") == 3  # by one process
    args = json.loads((the_run(folder / "kd") / "args.json").read_text())
    assert args["environment"]["hardware"].endswith(", 2 processes")


def test_stopped_by_a_signal_and_resumed(student, tmp_path, no_pictures):  # noqa: F811
    long = ["--epochs", "30", "--learning_rate", "0.0001"]
    alone("student", student("crd", tmp_path / "one", *long))
    job = [("student", student("crd", tmp_path / "two", *long, "--resume", "auto"))]
    process = start(job, tmp_path / "first")
    end = time.monotonic() + LIMIT
    while "Epoch 3/30" not in process.log.read_text() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    status, log = ended(process)
    assert status and log.count("stopped by signal 15 at epoch") == 1, log
    assert "saved, continue with --resume auto" in log, log
    log = together(job, tmp_path / "second", processes=1)  # another number of processes
    assert "resumed after main epoch" in log and "2 processes" not in log
    one, two = (checkpoint.load(the_run(tmp_path / name) / "resume.pth") for name in ("one", "two"))
    assert [row["epoch"] for row in two["history"]] == list(range(1, 31)) and the_run(tmp_path / "two").name
    same(one["model"], two["model"], ".model", near=1e-3)  # 90 steps multiply rounding


def test_a_run_of_one_process_goes_on_in_two(student, tmp_path, no_pictures):  # noqa: F811
    short = ["--epochs", "2"]
    alone("student", student("kd", tmp_path / "one", *short))
    with pytest.MonkeyPatch.context() as patch, several.group_norms():
        small_runs.kill_at(patch, 5)
        with pytest.raises(small_runs.Killed):
            flags = student("kd", tmp_path / "two", *short, "--resume_every", "0")
            small_runs.call(small_runs.MAINS["student"], [*flags, "--device", "cpu", "--threads", 1])
    log = together([("student", student("kd", tmp_path / "two", *short, "--resume", "auto"))] * 2, tmp_path / "log")
    assert "resumed after main epoch 1, step 0" in log and log.count("is finished: last accuracy") == 1
    same_runs(tmp_path / "one", tmp_path / "two")


def test_nothing_hangs_when_a_process_dies(student, tmp_path):
    began = time.monotonic()
    status, log = ended(start([("student", student("kd", tmp_path / "save"))], tmp_path, SEVERAL_DIE="1:3"))
    assert status and time.monotonic() - began < LIMIT / 2 and "Epoch 1/1 [2/3]" in log, log
    assert log.count("error: another process of this run has ended") <= 1
    together([("student", student("kd", tmp_path / "save", "--resume", "auto"))], tmp_path / "again")


@pytest.mark.parametrize("flags, line", [
    (["--batch_size", "14"], "--batch_size 14: the last batch of 1 images can't be split over 2 processes"),
    (["--epochs", "0"], "argument --epochs: must be a whole number >= 1"),
    (["--path_t", "missing.pth"], "--path_t missing.pth: no such checkpoint")])
def test_a_mistake_is_told_once(flags, line, student, tmp_path):
    process = start([("student", student("kd", tmp_path / "save", *flags))], tmp_path)
    status, log = ended(process)
    assert status and log.count("error: ") == log.count(f"error: {line}") == 1 and "exitcode  : 2" in log, log
    assert not (tmp_path / "save").exists()


def test_synchronised_norms_keep_what_a_residual_block_asks_of_them():
    """In evaluation, which needs no device: the same function, state and names; torch's conversion drops the ReLU."""
    torch.manual_seed(0)
    net = model_dict["resnet8x4"](num_classes=5)
    net(torch.randn(4, 3, 32, 32))  # running statistics of its own
    plain, x = net.eval(), torch.randn(2, 3, 32, 32)
    changed = synchronised(copy.deepcopy(plain))
    kinds = {type(layer) for layer in changed.modules() if hasattr(layer, "running_mean")}
    assert kinds == {SyncBatchNorm2d} and not changed.training
    with torch.no_grad():
        for expected, found in zip(plain(x, True, True)[0], changed(x, True, True)[0], strict=True):
            torch.testing.assert_close(found, expected)
    assert list(changed.state_dict()) == list(plain.state_dict())
    assert all(map(torch.equal, changed.state_dict().values(), plain.state_dict().values()))


def devices_difference(folder, *flags):
    """The largest difference of a weight between a teacher trained by one process and by two, with their norms."""
    words = ["train_teacher.py", *SIZE, "--model", "resnet8", *flags, "--save_dir"]
    for name, start_of in (("one", [sys.executable]),
                           ("two", [sys.executable, *TORCHRUN, "--nproc_per_node=2"])):
        done = subprocess.run([*start_of, *words, str(folder / name)], cwd=ROOT, capture_output=True, text=True,
                              timeout=LIMIT, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
    one, two = (checkpoint.load(the_run(folder / name, "teacher") / "resnet8_last.pth")["model"]
                for name in ("one", "two"))
    return max((one[key] - two[key]).abs().max().item() for key in one if one[key].is_floating_point())


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_on_two_devices_synchronised_norms_give_one_devices_run(tmp_path):
    """nccl, and --sync_bn: a batch norm sees the whole batch, also of the uneven last one."""
    common = ["--device", "cuda", "--precision", "fp32", "--step", "eager"]
    assert devices_difference(tmp_path / "synchronised", *common, "--sync_bn") < 1e-4
    assert devices_difference(tmp_path / "apart", *common) > 1e-3  # else the comparison could not fail


LEAVES = """
import atexit, os, pathlib, sys, time
import torch.distributed as dist
from helper.ddp import launch
from helper.errors import UserError

class Kept:
    def __del__(self):
        print("python has ended", flush=True)

kept = Kept()
atexit.register(print, "atexit ran")

def connected_late(*given, connect=dist.init_process_group, **more):
    connect(*given, **more)
    time.sleep(1)
    pathlib.Path(__file__).with_name("connected").write_text("")

if os.environ["RANK"] == "0":
    dist.init_process_group = connected_late

def main(argv):
    assert pathlib.Path(__file__).with_name("connected").exists()
    if argv == ["wrong"]:
        raise UserError("wrong")
    print("main ran")

sys.exit(launch(main, sys.argv[1:]))
"""


@pytest.mark.parametrize("word, status", [("right", 0), ("wrong", 1)])
def test_processes_start_together_and_leave_without_pythons_end(tmp_path, word, status):
    """None begins, or leaves with an error, while another still connects; Python does not end beside gloo's threads."""
    (tmp_path / "leaves.py").write_text(LEAVES)
    done = subprocess.run([sys.executable, *TORCHRUN, "--nproc_per_node=2", str(tmp_path / "leaves.py"), word],
                          capture_output=True, text=True, timeout=LIMIT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == status and "python has ended" not in done.stdout, done.stdout + done.stderr
    assert "atexit ran" in done.stdout and ("main ran" in done.stdout) == (status == 0)
    assert done.stderr.count("error: wrong") == status
