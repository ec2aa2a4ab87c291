"""The names that people import, where they look for them."""
import inspect
from pathlib import Path

import torch

import distiller_zoo
import models.util
from distiller_zoo import distiller_dict


def test_repdistillers_names():
    for name in ("ABLoss", "Attention", "Correlation", "HintLoss", "FSP", "FactorTransfer", "DistillKL", "KDSVD",
                 "NSTLoss", "PKT", "RKDLoss", "Similarity", "VIDLoss", "CRDLoss", "MIXSTDLoss"):
        assert issubclass(getattr(distiller_zoo, name), torch.nn.Module) and name in distiller_zoo.__all__
    for name in ("ConvReg", "LinearEmbed", "Embed", "Normalize", "Connector", "Translator", "Paraphraser"):
        assert issubclass(getattr(models.util, name), torch.nn.Module) and name in models.util.__all__


def test_no_loss_file_is_long():
    files = {Path(inspect.getfile(method)) for method in distiller_dict.values()}
    assert len(files) == len(distiller_dict)  # one file a method
    assert not [file.name for file in files if len(file.read_text().splitlines()) > 150]
