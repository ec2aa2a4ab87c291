"""Training with several processes under torchrun, on the CPU with gloo: results equal one process's up to rounding,
only rank 0 writes, nothing hangs.

Starting torchrun takes 7 s, so most trainings share one start: see the fixture ``two``.
"""
import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from dataset import MixSpec, make_loader, make_test_batches
from helper import checkpoint, ddp
from helper.errors import UserError
from models import model_dict
from models.synchronised import SyncBatchNorm2d, synchronised
from tests.conftest import ROOT
from tests.support import several, small_runs
from tests.support.small_runs import no_pictures  # noqa: F401 - a fixture
from tests.support.training import small_data

LIMIT = 240  # seconds, after which processes count as hung
SIZE = ["--dataset", "digits", "--holdout", "20", "--train_fraction", "0.03", "--batch_size", "16", "--epochs", "1",
        "--learning_rate", "0.005", "--kernels", "torch", "--print_freq", "1", "--tb_freq", "2"]
# 43 images: the last batch of 11 is split into 5 and 6. Few steps, because ReLUs amplify rounding: a change of 1e-7 in
# the initial weights changes those of one process by 4e-5 in two epochs.
METHODS = {"kd": ["--mix", "mixup"], "mixstd": ["--mix", "cutmix", "--no-pmixup", "--loader", "torch",
                                                "--num_workers", "1"],
           "vid": [], "crd": ["--nce_k", "20", "--feat_dim", "16"], "similarity": [], "rkd": ["--mix", "none"],
           "dist": ["--on_nan", "skip"], "abound": ["--init_epochs", "1"], "pkt": [],
           "correlation": ["--feat_dim", "16"]}
# Only kd is trained in single precision; every method in double, at the recipe's learning rate.
LONGER = ["--epochs", "2", "--learning_rate", "0.05", "--lr_decay_epochs", "1"]
SHORT = ["--epochs", "2"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--log-dir", os.devnull]  # no logs in the temporary folder


def start(jobs, folder, **environment):
    """torchrun of two processes with trainings (role, flags), as a process whose output goes to a file."""
    folder.mkdir(exist_ok=True)
    file, log = folder / "jobs.json", folder / "log"
    file.write_text(json.dumps([[role, list(map(str, flags))] for role, flags in jobs]))
    command = [sys.executable, *TORCHRUN, "--nproc_per_node=2", "-m", "tests.support.several", str(file)]
    own = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                   env={**os.environ, **own, **environment})
    process.log = log
    return process


def wait_for_end(process):
    """Returns (status, output); processes that hang are killed, which fails the test."""
    try:
        return process.wait(LIMIT), process.log.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # torchrun ends its workers; they have process groups of their own
            try:
                process.wait(60)
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def train_alone(role, flags):
    """The same training in this process alone; returns its output."""
    torch.manual_seed(0)
    with several.prepared(role):
        done = small_runs.call(small_runs.MAINS[role.split()[0]], [*flags, "--device", "cpu", "--threads", 1])
    assert done.status == 0, done.err
    return done.out


def run_folder(save, role="student"):
    return small_runs.only_run(save, role)


def state_of(save, role="student"):
    return checkpoint.load(run_folder(save, role) / "resume.pth")


def assert_same(one, other, where="", near=1e-5):
    """Nested states of two runs are equal: weights and memories to ``near``, sums and momenta relative to their size,
    everything else exactly."""
    if isinstance(one, torch.Tensor) and one.is_floating_point():
        atol = near if where.startswith((".model", ".method")) else 1e-3 * one.abs().max().item()
        torch.testing.assert_close(other, one, rtol=1e-5, atol=atol, msg=lambda text: f"{where}: {text}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            if name not in ("seconds", "images_per_s", "config"):
                assert_same(one[name], other[name], f"{where}.{name}", near)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]", near)
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-4), where
    else:
        assert one == other, where


def assert_same_runs(one, other, role="student"):
    assert run_folder(one, role).name == run_folder(other, role).name
    assert_same(state_of(one, role), state_of(other, role))


def files(save):
    """All files below a folder, without the time and process in TensorBoard's names."""
    return sorted(str(file.relative_to(save)).split("tfevents")[0] for file in save.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A resnet14 trained for an epoch; its batch norms have no effect across processes because it is frozen."""
    save = tmp_path_factory.mktemp("teacher")
    small_runs.call(small_runs.MAINS["teacher"],
                    [*SIZE, "--model", "resnet14", "--save_dir", save, "--device", "cpu", "--threads", 1])
    return run_folder(save, "teacher") / "resnet14_last.pth"


@pytest.fixture(scope="module")
def student(teacher):
    def flags(name, save, *more):
        return [*SIZE, "--model_s", "resnet8", "--path_t", str(teacher), "--distill", name, *METHODS[name], *more,
                "--save_dir", str(save)]
    return flags


@pytest.fixture(scope="module")
def two(student, tmp_path_factory):
    """(folder, output, files left in the folder for temporary files) of trainings by two processes."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch, several.prepared("student"), pytest.raises(small_runs.Killed):
        small_runs.kill_at(patch, 5)
        flags = student("kd", folder / "begun", *SHORT, "--resume_every", "0")
        small_runs.call(small_runs.MAINS["student"], [*flags, "--device", "cpu", "--threads", 1])
    jobs = [("student", student("kd", folder / "kd")),
            ("teacher", [*SIZE, "--model", "resnet8", "--save_dir", folder / "teacher"])]
    jobs += [("student", student("kd", folder / "begun", *SHORT, "--resume", "auto"))] * 2
    jobs += [("student in double", student(name, folder / f"double {name}", *LONGER)) for name in METHODS]
    with tempfile.TemporaryDirectory() as temporary:  # tmp_path is too long for sockets
        status, log = wait_for_end(start(jobs, folder, TMPDIR=temporary))
        assert status == 0, log
        return folder, log, os.listdir(temporary)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one_in_double_precision(name, two, student, tmp_path):
    """To 1e-9, which rounding of float64 stays below."""
    train_alone("student in double", student(name, tmp_path, *LONGER))
    a, b = state_of(tmp_path), state_of(two[0] / f"double {name}")
    for part in ("model", "method"):
        for key, value in a[part].items():
            if value.is_floating_point():
                assert value.dtype == torch.float64, key
                scale = max(1.0, value.abs().max().item())
                assert (value - b[part][key]).abs().max().item() <= 1e-9 * scale, (part, key)


@pytest.mark.parametrize("mix, kind, batch, processes", [("none", "device", 7, 2), ("mixup", "device", 16, 3),
                                                        ("mixup", "torch", 7, 2), ("cutmix", "device", 40, 4)])
def test_shares_of_all_processes_join_to_the_batch(mix, kind, batch, processes):
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


def test_each_test_batch_is_evaluated_by_one_process():
    data = small_data()
    data = replace(data, test=data.test.take([*range(20)] * 30))  # three batches
    whole = list(make_test_batches(data, "cpu")())
    dealt = [list(make_test_batches(data, "cpu", share=(rank, 3))()) for rank in range(3)]
    assert sum(map(len, dealt)) == len(whole) == 3
    assert sum(len(y) for share in dealt for _, y in share) == len(data.test)


@pytest.mark.slow
def test_two_processes_equal_one(two, student, tmp_path):
    train_alone("student", student("kd", tmp_path))
    assert_same_runs(tmp_path, two[0] / "kd")
    assert files(tmp_path) == files(two[0] / "kd")  # only rank 0 writes


@pytest.mark.slow
def test_two_processes_train_a_teacher(two, tmp_path):
    train_alone("teacher", [*SIZE, "--model", "resnet8", "--save_dir", tmp_path])
    assert_same_runs(tmp_path, two[0] / "teacher", "teacher")


@pytest.mark.slow
def test_only_rank_0_prints_and_processes_leave_no_files_and_skip_finalisation(two):
    """Python's finalisation may abort while threads of gloo run."""
    folder, log, temporary = two
    assert log.count("==> 2 processes: batches of 16, 8 in each; learning rate 0.0") >= len(METHODS)
    assert log.count(" * Epoch 1/1  lr") == 2  # the trainings of one epoch
    args = json.loads((run_folder(folder / "kd") / "args.json").read_text())
    assert args["environment"]["hardware"].endswith(", 2 processes")
    assert "atexit ran" in log and "python has ended" not in log and not temporary


@pytest.mark.slow
def test_a_run_of_one_process_is_resumed_by_two(two, student, tmp_path):
    folder, log, _ = two
    train_alone("student", student("kd", tmp_path, *SHORT))
    assert "resumed after main epoch 1, step 0" in log and log.count("is finished: last accuracy") == 1
    assert_same_runs(tmp_path, folder / "begun")


@pytest.mark.slow
def test_a_run_of_two_processes_stopped_by_a_signal_is_resumed_by_one(student, tmp_path):
    long = ["--epochs", "30", "--learning_rate", "0.0001"]
    train_alone("student", student("crd", tmp_path / "one", *long))
    flags = student("crd", tmp_path / "two", *long, "--resume", "auto", "--loader", "torch", "--num_workers", "1")
    with tempfile.TemporaryDirectory() as temporary:
        process = start([("student", flags)], tmp_path, TMPDIR=temporary)
        end = time.monotonic() + LIMIT
        while "Epoch 3/30" not in process.log.read_text() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        status, log = wait_for_end(process)
        assert not os.listdir(temporary)
    assert status and log.count("stopped by signal 15 at epoch") == 1, log
    assert "saved, continue with --resume auto" in log, log
    assert "resumed after main epoch" in train_alone("student", flags)
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert [row["epoch"] for row in two["history"]] == list(range(1, 31))
    assert_same(one["model"], two["model"], ".model", near=1e-3)  # 90 steps amplify rounding


@pytest.mark.slow
def test_nothing_hangs_when_a_process_dies(student, tmp_path):
    began, flags = time.monotonic(), student("kd", tmp_path / "save")
    status, log = wait_for_end(start([("student", flags)], tmp_path, SEVERAL_DIE="1:3"))
    assert status and time.monotonic() - began < LIMIT / 2 and "Epoch 1/1 [2/3]" in log, log
    assert log.count("error: another process of this run has ended") <= 1
    train_alone("student", [*flags, "--resume", "auto"])


@pytest.mark.slow
def test_nothing_hangs_when_a_process_has_an_error_of_its_own(student, tmp_path):
    """In the first step, after which all vote about a signal."""
    began, flags = time.monotonic(), student("kd", tmp_path / "save")
    status, log = wait_for_end(start([("student", flags)], tmp_path, SEVERAL_FAIL="1:1"))
    assert status and time.monotonic() - began < LIMIT / 2 and log.count("error: an image can't be read") == 1, log


@pytest.mark.slow
def test_an_error_is_reported_once_when_a_process_connects_late(student, tmp_path):
    """No process starts, or exits with an error, while another is still connecting."""
    process = start([("student", student("kd", tmp_path / "save", "--epochs", "0"))], tmp_path, SEVERAL_LATE="1")
    status, log = wait_for_end(process)
    line = "error: argument --epochs: must be a whole number >= 1"
    assert status and log.count("error: ") == log.count(line) == 1 and "exitcode  : 2" in log, log
    assert "python has ended" not in log and not (tmp_path / "save").exists()


def test_a_batch_with_too_few_images_for_all_processes_is_refused(monkeypatch):
    monkeypatch.setattr(ddp, "world_size", lambda: 2)
    words = "--batch_size 14: the last batch of 1 images can't be split over 2 processes"
    with pytest.raises(UserError, match=words):
        ddp.check_shares(Namespace(batch_size=14, learning_rate=0.05), 43, 1)


def test_synchronised_norms_keep_function_state_and_names():
    """In evaluation mode, which needs no GPU. torch's own conversion would drop the residual sum and the ReLU."""
    torch.manual_seed(0)
    net = model_dict["resnet8x4"](num_classes=5)
    net(torch.randn(4, 3, 32, 32))  # updates the running statistics
    plain, x = net.eval(), torch.randn(2, 3, 32, 32)
    changed = synchronised(copy.deepcopy(plain))
    kinds = {type(layer) for layer in changed.modules() if hasattr(layer, "running_mean")}
    assert kinds == {SyncBatchNorm2d} and not changed.training
    with torch.no_grad():
        for expected, found in zip(plain(x, True, True)[0], changed(x, True, True)[0], strict=True):
            torch.testing.assert_close(found, expected)
    assert list(changed.state_dict()) == list(plain.state_dict())
    assert all(map(torch.equal, changed.state_dict().values(), plain.state_dict().values()))


def weight_difference(folder, *flags):
    """The largest difference between the weights of a teacher trained by one process and by two."""
    words = ["train_teacher.py", *SIZE, "--model", "resnet8", *flags, "--save_dir"]
    for name, start_of in (("one", [sys.executable]),
                           ("two", [sys.executable, *TORCHRUN, "--nproc_per_node=2"])):
        done = subprocess.run([*start_of, *words, str(folder / name)], cwd=ROOT, capture_output=True, text=True,
                              timeout=LIMIT, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
    one, two = (checkpoint.load(run_folder(folder / name, "teacher") / "resnet8_last.pth")["model"]
                for name in ("one", "two"))
    return max((one[key] - two[key]).abs().max().item() for key in one if one[key].is_floating_point())


@pytest.mark.slow
@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_sync_bn_on_two_gpus_equals_one_gpu(tmp_path):
    """With nccl and --sync_bn, a batch norm uses the whole batch, also the uneven last one."""
    common = ["--device", "cuda", "--precision", "fp32", "--step", "eager"]
    assert weight_difference(tmp_path / "synchronised", *common, "--sync_bn") < 1e-4
    assert weight_difference(tmp_path / "apart", *common) > 1e-3  # without it the results differ
