"""The classic way to train on CIFAR, as RepDistiller's and MIX-KD's loops go about it: the reference of the benchmark.

Images are decoded and transformed one by one in DataLoader workers, mixed on the host with tiled float64 weights,
copied to the device, and every step waits for its loss. Written from what those loops do, for timing alone.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from helper.evaluate import hits


class Images(Dataset):
    """uint8 images (N, C, H, W) through torchvision's transforms, with label and index as the originals return them."""

    def __init__(self, data):
        steps = [transforms.RandomCrop(data.train.images.shape[-1], padding=data.pad)]
        steps += [transforms.RandomHorizontalFlip()] if data.flip else []
        steps += [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        self.transform = transforms.Compose(steps)
        self.images, self.labels = data.train.images, data.train.labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int):
        return self.transform(to_pil_image(self.images[i])), self.labels[i], i


def host_mix(images: Tensor, labels: Tensor, num_classes: int, amount: float, beta_a: float) -> tuple[Tensor, Tensor]:
    """MIX-KD's partial mixup on the host: numpy weights tiled to the shape of the images and of the one-hot targets."""
    n = len(images)
    one, two = torch.randperm(n), torch.randperm(n)
    weight = np.random.beta(beta_a, beta_a, (n, 1))
    weight[np.random.randint(0, n, int(n * amount))] = 1.0
    for_images = torch.from_numpy(np.tile(weight[..., None, None], (1, *images.shape[1:]))).float()
    for_targets = torch.from_numpy(np.tile(weight, (1, num_classes))).float()
    hot = torch.eye(num_classes)[labels]
    return (images[one] * for_images + images[two] * (1 - for_images),
            hot[one] * for_targets + hot[two] * (1 - for_targets))


class ClassicBatch:
    """What a method reads of a batch."""

    def __init__(self, images: Tensor, targets: Tensor, index: Tensor):
        self.images, self.targets, self.index, self.labels = images, targets, index, targets.argmax(1)


class Classic:
    """Loader, step and epoch of the classic path for one student.

    method: the same loss as ours, so that only the machinery differs.
    """

    def __init__(self, data, opt, model_t, model_s, method, device, workers: int):
        self.data, self.opt, self.device = data, opt, device
        self.model_t, self.model_s = model_t.to(device).eval(), model_s.to(device).train()
        self.method = method.to(device)
        self.loader = DataLoader(Images(data), opt.batch_size, shuffle=True, num_workers=workers)
        parameters = [*self.model_s.parameters(), *method.parameters()]
        self.optimizer = torch.optim.SGD(parameters, opt.learning_rate, opt.momentum, weight_decay=opt.weight_decay)

    def batches(self) -> Iterator[ClassicBatch]:
        for images, labels, index in self.loader:
            if self.opt.mix != "none":
                images, targets = host_mix(images, labels, self.data.num_classes, self.opt.partmixup, self.opt.beta_a)
            else:
                targets = torch.eye(self.data.num_classes)[labels]
            yield ClassicBatch(images.to(self.device), targets.to(self.device), index.to(self.device))

    def step(self, batch: ClassicBatch) -> float:
        """One step with features from both networks, as in the originals; waits for its loss."""
        out_s = self.model_s(batch.images, is_feat=True, preact=self.method.preact)
        with torch.no_grad():
            out_t = self.model_t(batch.images, is_feat=True, preact=self.method.teacher_preact())
        loss = sum(self.method(out_s, out_t, batch).values())
        top1, top5 = hits(out_s[1], batch.labels)
        total = loss.item() + top1.item() + top5.item()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return total
