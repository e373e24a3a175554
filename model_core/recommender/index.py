"""An approximate index by Faiss (MIT), an optional extra. Knows vectors and priors, nothing of users.

The largest inner product becomes the nearest neighbour (Bachrach et al., RecSys 2014): an item is
(E, prior, √(M² - |E|² - prior²)), M the length of the longest, and a query is (q, 1, 0). Neighbours are looked for in
the lists next to the query (IVF), by codes of 4 bits a number that are compared in registers (PQ fast scan).
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from model_core.recommender.purchase_log import Float32s

INSTALL = "pip install 'footfall[approximate]'"
MAX_LISTS = 4096  # more take longer to build than they save: each item is compared with each list
SAMPLES_PER_LIST = 39  # Faiss's own minimum for its k-means
ROUNDS = 8  # of k-means
BLOCK = 2**18  # items whose vectors exist at once while the index is built


class IndexMissingError(RuntimeError):
    """Faiss is not installed; the message says what to do."""


class FaissIndex:
    """Over N items of D numbers: about D / 2 + 9 bytes an item, and N · min(4√N, 4096) · D operations to build."""

    def __init__(self, table: Tensor, prior: Tensor, seed: int = 0) -> None:
        """`table` (N, D), `prior` (N,), in float32. Raises `IndexMissingError`."""
        faiss = _faiss()
        faiss.omp_set_num_threads(torch.get_num_threads())
        self._device = table.device
        self._shift = prior.mean()  # the same for all items: it changes no order, and makes M smaller
        square = table.square().sum(1) + (prior - self._shift).square()  # (N,)
        self._longest = square.max()
        items, width = len(table), table.shape[1] + 2
        lists = max(1, min(MAX_LISTS, int(4 * items**0.5), items // SAMPLES_PER_LIST))
        self._quantizer = faiss.IndexFlatL2(width)  # held here: the index only refers to it
        self._index = faiss.IndexIVFPQFastScan(self._quantizer, width, lists, width, 4, faiss.METRIC_L2)
        self._index.cp.niter, self._index.cp.seed = ROUNDS, seed
        sample = torch.randperm(items, generator=torch.Generator().manual_seed(seed))[: SAMPLES_PER_LIST * lists]
        self._index.train(self._vectors(table, prior, sample.to(self._device)))
        for start in range(0, items, BLOCK):
            block = torch.arange(start, min(start + BLOCK, items), device=self._device)
            self._index.add(self._vectors(table, prior, block))
        self.probes = 1  # lists that are looked into

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def lists(self) -> int:
        return int(self._index.nlist)

    def find(self, query: Tensor, n: int) -> Tensor:
        """Items (B, n) that are likely the best for queries (B, D); n <= N.

        Raises `ArithmeticError` for a query that is not a number: nothing is near it.
        """
        vectors = _numpy(torch.cat([query, query.new_ones(len(query), 1), query.new_zeros(len(query), 1)], 1))
        self._index.nprobe = self.probes
        _, found = self._index.search(vectors, n)
        while found.min() < 0:  # the lists held fewer than n
            if self._index.nprobe == self.lists:
                raise ArithmeticError("a query is not a number: the weights, or the user's state, are damaged")
            self._index.nprobe = min(2 * self._index.nprobe, self.lists)
            _, found = self._index.search(vectors, n)
        return torch.from_numpy(found).to(query.device)

    def _vectors(self, table: Tensor, prior: Tensor, items: Tensor) -> Float32s:
        vector = torch.cat([table[items], (prior[items] - self._shift)[:, None]], 1)
        rest = (self._longest - vector.square().sum(1)).clamp(min=0).sqrt()
        return _numpy(torch.cat([vector, rest[:, None]], 1))


def _faiss() -> ModuleType:
    try:
        import faiss  # noqa: PLC0415 - only where it is used
    except ImportError:
        raise IndexMissingError(
            f"approximate retrieval needs Faiss: {INSTALL}; or serve exactly, with --retrieval exact"
        ) from None
    module: Any = faiss
    return module  # type: ignore[no-any-return]


def _numpy(tensor: Tensor) -> Float32s:
    array: Float32s = tensor.float().contiguous().cpu().numpy()
    return array
