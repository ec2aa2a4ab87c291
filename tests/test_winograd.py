"""The CPU's 3x3 convolution: against torch's in float64, in training, and where it must stand back."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from distiller_zoo import distiller_dict
from helper.options import parse_student
from helper.setup import make_engine
from models import model_dict
from models.cpu_kernels import native, winograd
from models.folding import folded

ROOT = Path(__file__).resolve().parent.parent
SHAPES = [(2, 16, 16, 8, 8), (3, 32, 16, 4, 12), (1, 16, 48, 20, 6),
          (3, 16, 32, 6, 10), (5, 48, 16, 4, 4), (1, 32, 64, 2, 34), (64, 64, 64, 8, 8)]
SERVED = [(n, c, k, h, w) for n, c, k, h, w in SHAPES if 64 * n * h * w // 4 >= c * k]  # enough tiles for the kernel


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    try:
        winograd.kernels()
    except winograd.Unavailable as error:
        pytest.skip(str(error))


def layer(c, k, bias=True, seed=0):
    torch.manual_seed(seed)
    return nn.Conv2d(c, k, 3, padding=1, bias=bias)


def uses_kernel(net, x):
    """Whether a call goes through the kernel."""
    with torch.profiler.profile() as events:
        net(x)
    return any(event.key == "mixkd::convolve" for event in events.key_averages())


def outcome(net, x, dy, convert=lambda t: t):
    """Output and the gradients of input, weight and bias."""
    x = convert(x).clone().requires_grad_()
    y = net(x)
    return [y, *torch.autograd.grad(y, [x, *net.parameters()], convert(dy))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n, c, k, h, w", SHAPES)
def test_values_and_gradients_are_those_of_the_definition(n, c, k, h, w, bias, layout):
    exact, fast = layer(c, k, bias).double(), winograd.replace_convolutions(layer(c, k, bias).to(memory_format=layout))
    x, dy = torch.randn(n, c, h, w).to(memory_format=layout), torch.randn(n, k, h, w)
    assert 64 * n * h * w // 4 < c * k or uses_kernel(fast, x)
    for got, want in zip(outcome(fast, x, dy), outcome(exact, x, dy, torch.Tensor.double), strict=True):
        assert got.shape == want.shape
        assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_a_value_by_hand():
    """One filter tap at a time picks one shifted pixel; the border reads zeros."""
    image = torch.arange(36.0).reshape(1, 1, 6, 6).expand(1, 16, 6, 6).contiguous()
    padded = F.pad(image, (1, 1, 1, 1))
    net = winograd.replace_convolutions(layer(16, 16, bias=False))
    for row in range(3):
        for column in range(3):
            with torch.no_grad():
                net.weight.zero_()
                net.weight[:, 5, row, column] = torch.arange(16.0)
                want = torch.arange(16.0).reshape(1, 16, 1, 1) * padded[:, 5:6, row:row + 6, column:column + 6]
                torch.testing.assert_close(net(image), want, rtol=0, atol=1e-3)  # of values up to 525


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_tiles(threads):
    net, x, dy = winograd.replace_convolutions(layer(16, 32)), torch.randn(3, 16, 6, 6), torch.randn(3, 32, 6, 6)
    before = torch.get_num_threads()
    try:
        alone = outcome(net, x, dy)
        torch.set_num_threads(threads)
        shared, again = outcome(net, x, dy), outcome(net, x, dy)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, shared, again))  # the same threads, the same bits
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape, dtype", [((2, 16, 7, 8), torch.float32), ((2, 16, 8, 7), torch.float32),
                                          ((2, 16, 8, 8), torch.float64), ((16, 8, 8), torch.float32)])
def test_torch_computes_what_the_kernel_does_not_serve(shape, dtype):
    plain = layer(16, 16).to(dtype)
    fast, x = winograd.replace_convolutions(layer(16, 16).to(dtype)), torch.randn(shape, dtype=dtype)
    assert torch.equal(fast(x), plain(x)) and not uses_kernel(fast, x)


def test_what_does_not_fit_is_torchs_error_or_torchs_result():
    fast, plain = winograd.replace_convolutions(layer(16, 32)), layer(16, 32)
    for channels in (8, 32):
        with pytest.raises(RuntimeError, match="to have 16 channels"):
            fast(torch.randn(4, channels, 8, 8))
    x, bias = torch.randn(4, 16, 8, 8), torch.randn(64)[::2]
    fast.bias, plain.bias = nn.Parameter(bias), nn.Parameter(bias)
    torch.testing.assert_close(fast(x), plain(x))
    fast.bias = nn.Parameter(bias.double())
    with pytest.raises(RuntimeError):
        fast(x)


def test_few_tiles_and_other_numbers_are_left_to_torch():
    fast, x = winograd.replace_convolutions(layer(64, 64)), torch.randn(3, 64, 8, 8)
    assert not uses_kernel(fast, x) and uses_kernel(fast, torch.randn(4, 64, 8, 8))
    fast, x = winograd.replace_convolutions(layer(16, 16)), torch.randn(4, 16, 8, 8)
    with torch.autocast("cpu", dtype=torch.float16):
        assert fast(x).dtype == torch.float16 and not uses_kernel(fast, x)
    assert uses_kernel(fast, x)
    with pytest.raises(RuntimeError, match="type"):
        fast(x.bfloat16())  # without autocast inputs and filters have one type


@pytest.mark.parametrize("n, c, k, h, w", SERVED)
def test_in_bfloat16_only_what_is_held_is_rounded(n, c, k, h, w):
    """Under autocast: output and input gradient are the exact ones of the rounded input, rounded; the filters' and the
    bias's gradient keep single precision's digits."""
    exact, fast = layer(c, k).double(), winograd.replace_convolutions(layer(c, k))
    x, dy = torch.randn(n, c, h, w).bfloat16(), torch.randn(n, k, h, w).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert uses_kernel(fast, x)
        got = outcome(fast, x.float(), dy)
    want = outcome(exact, x, dy, torch.Tensor.double)
    assert [t.dtype for t in got] == [torch.bfloat16, *[torch.float32] * 3]
    for one, other, held in zip(got, want, (True, True, False, False), strict=True):
        bound = 1e-5 * other.abs().max() + (2 ** -8 * other.abs() if held else 0)
        assert ((one - other).abs() <= bound).all()


@pytest.mark.parametrize("residual", [False, True])
def test_a_teacher_in_bfloat16(residual):
    """Filters held in bfloat16 too, as helper/teacher.py has them."""
    fast, x = winograd.replace_convolutions(layer(16, 32).bfloat16()), torch.randn(4, 16, 8, 8).bfloat16()
    exact, shortcut = layer(16, 32).bfloat16().double(), torch.randn(4, 32, 8, 8).bfloat16() if residual else None
    with torch.no_grad():
        want = exact(x.double()) + (shortcut.double() if residual else 0)
        got = fast(x, shortcut, True)
        assert uses_kernel(fast, x) and got.dtype == torch.bfloat16
    assert ((got - want.relu()).abs() <= 1e-5 * want.abs().max() + 2 ** -8 * want.abs()).all()


def test_only_convolutions_of_its_kind_are_changed():
    kinds = [nn.Conv2d(16, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, padding=0), nn.Conv2d(16, 16, 1),
             nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 24, 3, 1, 1),
             nn.Conv2d(16, 16, 3, 1, 2, dilation=2), nn.Conv2d(32, 32, 3, 1, 1, groups=2),
             nn.Conv2d(16, 16, 3, 1, 1, padding_mode="reflect"), nn.Conv2d(16, 16, 3, padding="same")]
    assert {type(m) for m in winograd.replace_convolutions(nn.ModuleList(kinds))} == {nn.Conv2d}
    net = model_dict["resnet20"](num_classes=100)
    names = {name: value.shape for name, value in net.state_dict().items()}
    winograd.replace_convolutions(net)
    assert sum(isinstance(m, winograd.WinogradConv2d) for m in net.modules()) == 16  # 19, but the stem and two strides
    assert {name: value.shape for name, value in net.state_dict().items()} == names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet56", "wrn_40_2", "vgg13", "resnet8x4", "ResNet50", "ShuffleV2"])
def test_whole_networks(name):
    torch.manual_seed(0)
    net = folded(model_dict[name](num_classes=100))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        exact = net.double()(x.double())
        fast = winograd.replace_convolutions(net.float())(x)
    assert (fast - exact).abs().max() <= 2e-5 * exact.abs().max()


def trained(kernels, dtype, seed):
    """All weights of a resnet8 after three steps of SGD."""
    opt = parse_student(["--model_s", "resnet8", "--distill", "kd", "--trial", str(seed)])
    opt.kernels, opt.step, opt.precision = kernels, "eager", "fp32"
    engine = make_engine(opt, "resnet8", 10, torch.device("cpu"), lambda seed: distiller_dict["kd"](opt, None))
    net = engine.model.train().to(dtype)
    assert any(isinstance(m, winograd.WinogradConv2d) for m in net.modules()) == (kernels == "native")
    sgd, generator = torch.optim.SGD(net.parameters(), 0.05, 0.9), torch.Generator().manual_seed(seed)
    for _ in range(3):
        x, y = torch.randn(16, 3, 16, 16, generator=generator), torch.randint(10, (16,), generator=generator)
        sgd.zero_grad()
        F.cross_entropy(net(x.to(dtype)), y).backward()
        sgd.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()]).double()


@pytest.mark.slow
def test_training_stays_as_near_the_exact_path_as_torchs_convolutions_do():
    """In the better seeds: where an input of a ReLU rounds to the other side of zero, either path jumps."""
    fast, torchs = [], []
    for seed in range(9):
        exact = trained("torch", torch.float64, seed)
        fast.append((trained("native", torch.float32, seed) - exact).norm() / exact.norm())
        torchs.append((trained("torch", torch.float32, seed) - exact).norm() / exact.norm())
    assert 0 < sorted(fast)[2] < 2 * sorted(torchs)[2] < 1e-6


@pytest.mark.slow
def test_compiled_it_is_the_same():
    net, x, dy = winograd.replace_convolutions(layer(16, 16)), torch.randn(4, 16, 8, 8), torch.randn(4, 16, 8, 8)
    fast = torch.compile(nn.Sequential(net, nn.ReLU()), dynamic=False)
    x.requires_grad_()
    for got, want in zip(torch.autograd.grad(fast(x), [x, net.weight], dy),
                         torch.autograd.grad(net(x).relu(), [x, net.weight], dy), strict=True):
        torch.testing.assert_close(got, want)
    tests = ("test_schema", "test_faketensor")
    given = x.detach(), net.weight.detach()
    torch.library.opcheck(torch.ops.mixkd.convolve.default, (*given, None, x.detach(), True, True), test_utils=tests)
    torch.library.opcheck(torch.ops.mixkd.weight_gradient.default, (x.detach(), dy, net.weight.detach()),
                          test_utils=tests)


def test_a_second_derivative_is_refused():
    net, x = winograd.replace_convolutions(layer(16, 16)), torch.randn(4, 16, 8, 8, requires_grad=True)
    slope, = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


# Making it --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder of sources and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "tiny.cpp").write_text('extern "C" int three() { return 3; }')
    return folder


def test_the_library_is_made_once_and_mended(tiny, tmp_path, monkeypatch):
    assert native.load(tiny).three() == 3
    made, = (tmp_path / "cache/mixkd").iterdir()
    before = made.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(native, "build", lambda *_: pytest.fail("compiled again"))
        assert native.load(tiny).three() == 3 and made.stat().st_mtime_ns == before
    (tiny / "tiny.cpp").write_text('#include "tiny.h"')
    (tiny / "tiny.h").write_text('extern "C" int three() { return 4; }')
    assert native.load(tiny).three() == 4
    assert {path.name.partition("-")[0] for path in made.parent.iterdir()} > {native.digest(tiny)}


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 20, 6000])
def test_half_a_library_is_not_loaded(tiny, tmp_path, left):
    """In a process of its own, which loading one would end with a bus error."""
    program = ("from pathlib import Path; from models.cpu_kernels import native; "
               f"print(native.load(Path({str(tiny)!r})).three())")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "3\n"), done
        made, = (tmp_path / "cache/mixkd").iterdir()  # the damaged one has been replaced
        whole = made.read_bytes()
        assert len(whole) > left
        made.write_bytes(whole[:left])


def test_a_killed_compilation_leaves_nothing_that_blocks(tiny, tmp_path):
    left = tmp_path / "cache/mixkd/tmpleft"
    left.mkdir(parents=True)
    (left / "lock").write_text("")
    assert native.load(tiny).three() == 3


def test_a_cache_that_cannot_be_written_is_done_without(tiny, tmp_path):
    (tmp_path / "cache").write_text("")
    assert native.load(tiny).three() == 3


@pytest.mark.parametrize("compiler, source, why", [
    ("no-such-compiler", "", "^no C\\+\\+ compiler no-such-compiler, as CXX names it \\(a program, without arg"),
    ("g++ -O2", "", "^no C\\+\\+ compiler g\\+\\+ -O2, as CXX names it \\(a program, without arguments\\)$"),
    ("false", "", "^false can't compile tiny: .*non-zero exit status"),
    ("/proc/self/cmdline-none/x", "", "^no C\\+\\+ compiler"),
    ("true", "", "^true can't compile tiny: Could not load this library"),
    ("c++", "no C++", "^c\\+\\+ can't compile tiny: .*tiny.cpp.*error"),
])
def test_no_compiler_or_no_luck_is_one_line(tiny, monkeypatch, compiler, source, why):
    monkeypatch.setenv("CXX", compiler)
    (tiny / "tiny.cpp").write_text(source)
    with pytest.raises(native.Unavailable, match=why) as caught:
        native.load(tiny)
    assert "\n" not in str(caught.value)


def command(tmp_path, *flags, **environment):
    words = [sys.executable, "train_teacher.py", "--model", "resnet8", "--dataset", "digits", "--epochs", "1",
             "--lr_decay_epochs", "1", "--train_fraction", "0.1", "--device", "cpu",
             "--save_dir", str(tmp_path / "save")]
    return subprocess.run([*words, *flags], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", **environment})


@pytest.mark.slow
def test_without_a_compiler_training_goes_on_and_says_so(tmp_path):
    done = command(tmp_path, CXX="no-such-compiler")
    assert done.returncode == 0, done.stderr
    assert "==> --kernels torch, which are slower: no C++ compiler no-such-compiler, as CXX names it" in done.stdout


def test_asked_for_in_vain_it_is_refused(tmp_path):
    done = command(tmp_path, "--kernels", "native", CXX="no-such-compiler")
    line = ("--kernels native: no C++ compiler no-such-compiler, as CXX names it (a program, without arguments); "
            "use --kernels auto")
    assert done.returncode == 2 and line in done.stderr and not (tmp_path / "save").exists()
