"""Estimates: the networks' multiply-adds by hand, and what they make of a table's runs."""
import pytest

from scripts.table import costs


def resnet_by_hand(depth, classes=100):
    """RepDistiller's CIFAR ResNet of basic blocks: 16, 32, 64 channels on 32, 16, 8 pixels; 1x1 shortcuts."""
    blocks = (depth - 2) // 6
    total = 3 * 16 * 9 * 32**2 + 64 * classes
    for before, width, side in ((16, 16, 32), (16, 32, 16), (32, 64, 8)):
        total += (2 * blocks - 1) * width * width * 9 * side**2 + before * width * 9 * side**2
        total += before * width * side**2 if before != width else 0
    return total


@pytest.mark.parametrize("depth, millions", [(20, 41), (32, 69), (56, 126), (110, 255)])
def test_multiply_adds_of_resnets(depth, millions):
    assert costs.multiply_adds(f"resnet{depth}") == resnet_by_hand(depth)
    assert resnet_by_hand(depth) / 1e6 == pytest.approx(millions, rel=0.02)


def test_an_epoch_costs_the_teacher_once_and_the_student_thrice():
    t, s = resnet_by_hand(56), resnet_by_hand(20)
    assert costs.epoch_cost("resnet20", "resnet56", 1000, 0) == 1000 * (t + 3 * s)
    assert costs.epoch_cost("resnet20", None, 0, 10) == 10 * s
    heavy, light = (costs.epoch_cost("MobileNetV2", name, 1000, 0) for name in ("ResNet50", "resnet20"))
    assert heavy / light == pytest.approx(1298 / 60.4, rel=0.05)
