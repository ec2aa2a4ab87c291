"""The training step stays short enough to be read: functions called from the plan to the sums."""
import sys
from pathlib import Path

from dataset import DeviceLoader, MixSpec
from helper.teacher import Teacher
from models import model_dict
from tests.support.training import options, small_data, small_engine

FOLDERS = [Path(__file__).resolve().parents[1] / name for name in ("dataset", "models", "distiller_zoo", "helper")]


def test_a_step_calls_fewer_than_30_functions_in_8_files():
    """For the simplest step: kd, no mixing, eager, on the CPU with torch's kernels; in the middle of an epoch."""
    opt, data = options(teacher_precision="same"), small_data(600)
    engine = small_engine(opt)
    engine.teacher = Teacher(model_dict["resnet8"](num_classes=data.num_classes), opt, engine.device, False, False)
    batches = DeviceLoader(data, 64, MixSpec("none")).epoch(1, 1)
    next(batches)
    seen = set()

    def record(frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "call" and any(map(file.is_relative_to, FOLDERS)):
            seen.add((file, frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name))

    sys.setprofile(record)
    try:
        for batch in batches:
            engine.step(batch)
    finally:
        sys.setprofile(None)
    functions = {name for _, name in seen if "<" not in name.split(".")[-1]}
    assert 20 < len(functions) < 30 and len({file for file, _ in seen}) <= 8, sorted(functions)
