"""The methods' settings compared with a copy of public repositories' configuration files."""
import inspect
import json
import re
from ast import literal_eval
from pathlib import Path

import pytest

from distiller_zoo import distiller_dict
from distiller_zoo.settings import COMMITS, GENERAL, SETTINGS, WEIGHTS
from helper.options import parse_student
from helper.run import student_name

UPSTREAM = json.loads((Path(__file__).parent / "golden" / "upstream_settings.json").read_text())
MDISTILLER, LSKD = "megvii-research/mdistiller", "sunshangquan/logit-standardization-KD"
*_, REVIEWKD_LINES = UPSTREAM["dvlab-research/ReviewKD"].values()
REVIEWKD = {tuple(name.replace("-", "_").replace("shufflev", "ShuffleV") for name in pair): weight
            for *pair, weight in REVIEWKD_LINES}
NAMES = {"ResNet34": "resnet34", "ResNet18": "resnet18", "MobileNetV1": "mobilenet_v1"}  # mdistiller -> ours
# The flag of each key of a configuration file; {} is the method's section.
KEYS = {"kd": {"KD.TEMPERATURE": "kd_T", "KD.LOSS.CE_WEIGHT": "gamma", "KD.LOSS.KD_WEIGHT": "alpha"},
        "dkd": {"DKD.BETA": "dkd_beta", "DKD.T": "dkd_T", "DKD.WARMUP": "dkd_warmup"},
        "reviewkd": {"REVIEWKD.REVIEWKD_WEIGHT": "beta", "REVIEWKD.WARMUP_EPOCHS": "reviewkd_warmup",
                     "REVIEWKD.STU_PREACT": "reviewkd_preact"}}


def flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def upstream_flags(entry):
    """The settings in the entry's file, as our flags."""
    if entry["file"].startswith("README.md, log "):
        rows = next(value for key, value in UPSTREAM[LSKD].items() if key.startswith("README rows"))
        log = entry["file"].removeprefix("README.md, log ")
        assert log in [name for _, name in rows]
        _, teacher, student, temperature, weight, *beta = log.removesuffix(".txt").split(",")
        assert (teacher, student) == (entry["teacher"], entry["student"])
        if beta:
            return {"dkd_beta": float(beta[0])}
        return {"lskd_T": float(temperature)} | ({} if weight == "9" else {"beta": float(weight)})
    if entry["repository"] == "dvlab-research/ReviewKD":
        return {"beta": REVIEWKD[entry["teacher"], entry["student"]]}
    values = UPSTREAM[entry["repository"]]["files"][entry["file"]]
    about = values["DISTILLER"]
    if entry["dataset"] == "imagenet":
        pair = [NAMES.get(about[role], about[role].lower()) for role in ("TEACHER", "STUDENT")]
        assert pair == [entry["teacher"], entry["student"]]
    else:
        assert (about["TEACHER"], about["STUDENT"]) == (entry["teacher"], entry["student"])
    assert about["TYPE"].lower() == entry["method"]
    keys = KEYS[entry["method"]]
    return {keys[key]: value for key, value in flat(values) if key in keys}


@pytest.mark.parametrize("method", sorted({entry["method"] for entry in SETTINGS}))
def test_settings_match_their_source_and_are_applied(method):
    for entry in SETTINGS:
        if entry["method"] == method:
            assert_matches_source(entry)


def assert_matches_source(entry):
    assert COMMITS[entry["repository"]] == UPSTREAM[entry["repository"]]["commit"]
    assert entry["flags"] == upstream_flags(entry)
    words = ["--distill", entry["method"], "--dataset", entry["dataset"], "--model_t", entry["teacher"],
             "--model_s", entry["student"]]
    opt = parse_student(words)
    assert {name: getattr(opt, name) for name in entry["flags"]} == entry["flags"]
    assert entry["file"] in opt.pair_settings
    name, value = next(iter(entry["flags"].items()))
    given = parse_student([*words, f"--{name}={value + 1}"])
    assert getattr(given, name) == value + 1 and student_name(given, "1") != student_name(opt, "1")


def test_a_pairs_command_trains_with_mdistillers_settings():
    """For every file of mdistiller whose method and networks this project has."""
    files = [name for name in UPSTREAM[MDISTILLER]["files"] if "tiny" not in name
             and re.search("cifar100/dkd/|imagenet/.*/(kd|dkd|reviewkd).yaml", name)]
    assert len(files) > 5
    for file in files:
        assert_trained_with(file)


def assert_trained_with(file):
    values = UPSTREAM[MDISTILLER]["files"][file]
    theirs = UPSTREAM[MDISTILLER]["defaults (mdistiller/engine/cfg.py)"]
    defaults = {key: literal_eval(theirs[key]) for keys in KEYS.values() for key in keys}
    method, imagenet = values["DISTILLER"]["TYPE"].lower(), "imagenet" in file
    teacher, student = (NAMES.get(name, name.lower()) if imagenet else name
                        for name in (values["DISTILLER"]["TEACHER"], values["DISTILLER"]["STUDENT"]))
    opt = parse_student(["--distill", method, "--model_t", teacher, "--model_s", student,
                         "--dataset", "imagenet" if imagenet else "cifar100"])
    expected = defaults | dict(flat(values))
    assert {flag: getattr(opt, flag) for flag in KEYS[method].values()} == {
        flag: expected[key] for key, flag in KEYS[method].items()}


@pytest.mark.parametrize("name", GENERAL)
def test_a_methods_numbers_are_only_in_settings_json(name):
    method, entry = distiller_dict[name], GENERAL[name]
    assert entry["flags"].keys() == {*WEIGHTS, *method.flags}
    assert entry.get("paper") or COMMITS[entry["repository"]] and entry["file"]
    code = inspect.getsource(inspect.getmodule(method))
    assert not re.search(r'weights = \(|"default": [\d"]|-[rab] [\d.]', code)


@pytest.mark.parametrize("pair", REVIEWKD, ids=" ".join)
def test_a_pairs_command_trains_with_reviewkds_weight(pair):
    teacher, student = pair
    assert parse_student(["--distill", "reviewkd", "--model_t", teacher, "--model_s", student]).beta == REVIEWKD[pair]


def test_general_defaults_match_upstream():
    theirs = UPSTREAM[MDISTILLER]["defaults (mdistiller/engine/cfg.py)"]
    for method, name in (("hint", "FITNET"), ("attention", "AT"), ("similarity", "SP"), ("vid", "VID"), ("rkd", "RKD"),
                         ("pkt", "PKT"), ("nst", "NST"), ("kdsvd", "KDSVD"), ("crd", "CRD")):
        weights = float(theirs[f"{name}.LOSS.CE_WEIGHT"]), 0.0, float(theirs[f"{name}.LOSS.FEAT_WEIGHT"])
        assert distiller_dict[method].weights == weights, method
    theirs = UPSTREAM[LSKD]["defaults (mdistiller/engine/cfg.py)"]
    opt = parse_student(["--distill", "lskd", "--model_t", "resnet56", "--model_s", "resnet20"])
    assert [opt.gamma, opt.beta, opt.lskd_T] == [float(theirs[f"KD.{k}"]) for k in (
        "LOSS.CE_WEIGHT", "LOSS.KD_WEIGHT", "TEMPERATURE")]


def test_repdistillers_command_lines_do_not_mix():
    """Except for kd, whose default is MIX-KD's."""
    for line in UPSTREAM["HobbitLong/RepDistiller"]["scripts/run_cifar_distill.sh"]:
        assert_not_mixed(line)


def assert_not_mixed(line):
    words = line.split()[2:]
    opt = parse_student(words)
    method = words[words.index("--distill") + 1]
    assert opt.mix == ("mixup" if method == "kd" else "none")
    if method not in ("abound", "fsp"):  # there -b has no effect: their second stage adds no term
        theirs = dict(zip(words[::2], words[1::2], strict=True))
        default = parse_student(["--distill", method])
        for short, name in (("-a", "alpha"), ("-b", "beta")):
            if theirs.get(short) != "1":  # the last line, crd + kd
                assert getattr(default, name) == float(theirs[short]), method


@pytest.mark.parametrize("data, rate", [("cifar100", 0.01), ("folder", 0.1), ("imagenet", 0.1)])
def test_a_data_sets_learning_rate_overrides_that_of_slow_networks(data, rate):
    assert parse_student(["--model_s", "MobileNetV2", "--dataset", data]).learning_rate == rate
