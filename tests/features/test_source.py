import importlib
import sys
from functools import partial

import pytest
import torch
from torch import nn

from expkit.augment import side_on
from expkit.features.source import content_of, source_of

NET = """
from torch import nn
import {helper}
from {package} import blocks

class Net(nn.Module):
    def forward(self, x):
        return blocks.act(x)

def make(x):
    return {helper}.scale(x)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's package of two modules and a module beside it, and a way to import them anew."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "own_nets"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "net.py").write_text(NET.format(helper="own_helper", package="own_nets"))
    (folder / "blocks.py").write_text("def act(x):\n    return x.relu()\n")
    (folder / "late.py").write_text("LATE = 1\n")
    (tmp_path / "own_helper.py").write_text("def scale(x):\n    return x\n")

    def fresh():
        for name in [name for name in sys.modules if name.startswith("own_")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        content_of.cache_clear()
        return importlib.import_module("own_nets.net")

    yield tmp_path, fresh
    fresh()
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.mark.parametrize("file", ["own_nets/net.py", "own_nets/blocks.py", "own_nets/late.py", "own_helper.py"])
def test_code_of_the_users_own_counts_wherever_it_lies(own, file):
    folder, fresh = own
    before = [
        source_of(fresh().make),
        source_of(fresh().Net),
        source_of(fresh().Net()),
        source_of(partial(fresh().make)),
    ]
    assert None not in before
    assert len(set(before)) == 1
    (folder / file).write_text((folder / file).read_text() + "\nNEW = 1\n")
    assert source_of(fresh().make) not in (None, before[0])


def test_what_a_process_has_imported_stays_when_the_file_changes(own):
    folder, fresh = own
    net = fresh()
    before = source_of(net.make)
    (folder / "own_nets" / "blocks.py").write_text("def act(x):\n    return x.tanh()\n")
    assert source_of(net.make) == before


def test_own_code_is_found_in_what_others_hold(own):
    _, fresh = own
    net = fresh()
    holders = [nn.Sequential(nn.ReLU(), net.Net()), partial(map, [net.make]), lambda x: net.make(x), {"a": (net.Net,)}]
    assert all(source_of(holder) for holder in holders[:2] + holders[3:])
    assert source_of(holders[2])


def test_versioned_code_has_no_source():
    assert source_of(nn.Linear, torch.relu, side_on(24).train, side_on(24).valid, partial(print, 1)) is None
