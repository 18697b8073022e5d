# SPDX-License-Identifier: Apache-2.0
"""Of torch (3 GB) what guidellm uses: an iterable data set that is read in order, one row at a time.
The names below Generator are only asked for by `datasets`."""
import sys
import types
from typing import Generic, TypeVar

T = TypeVar('T')


class IterableDataset(Generic[T]):
    pass


class DataLoader(Generic[T]):
    def __init__(self, dataset, batch_size, collate_fn, shuffle=False, num_workers=0, **rest):
        assert batch_size == 1 and not shuffle and num_workers <= 1, (batch_size, shuffle, num_workers)
        self.dataset, self.collate_fn = dataset, collate_fn

    def __iter__(self):
        return (self.collate_fn([row]) for row in self.dataset)


class Generator:
    def manual_seed(self, seed):
        return self


class Tensor:
    pass


nn = types.SimpleNamespace(Module=type('Module', (), {}))


def _module(name, **names):
    m = sys.modules['torch.' + name] = types.ModuleType('torch.' + name)
    vars(m).update(names)
    return m


_data = _module('utils.data', get_worker_info=lambda: None,
                dataloader=_module('utils.data.dataloader', DataLoader=DataLoader),
                dataset=_module('utils.data.dataset', IterableDataset=IterableDataset))
utils = _module('utils', data=_data)
