"""Stands in cuBLAS's place: what it computes, along columns, from addresses."""

import ctypes

import numpy as np
from fake_arrays import STATE


class FakeCublas:
    """What cuBLAS computes, along columns, from addresses."""

    def cublasCreate_v2(self, handle):  # noqa: N802 - the library's name
        return 0

    def cublasSetStream_v2(self, handle, stream):  # noqa: N802
        return 0

    def cublasSetWorkspace_v2(self, handle, space, size):  # noqa: N802
        return 0

    def cublasSgemm_v2(self, *arguments):  # noqa: N802
        return self.gemm(ctypes.c_float, *arguments)

    def cublasDgemm_v2(self, *arguments):  # noqa: N802
        return self.gemm(ctypes.c_double, *arguments)

    @staticmethod
    def gemm(kind, _, *rest):
        order_a, order_b, m, n, k = (number.value for number in rest[:5])
        _one, a, lda, b, ldb, _zero, c, ldc = rest[5:]

        def matrix(place, leading, rows, columns, order):
            rows, columns = (columns, rows) if order else (rows, columns)
            memory = (kind * (leading.value * columns)).from_address(place.value)
            columnwise = np.frombuffer(memory, kind).reshape(columns, leading.value)
            found = columnwise[:, :rows].T
            return found.T if order else found

        def run():
            left = matrix(a, lda, m, k, order_a)
            right = matrix(b, ldb, k, n, order_b)
            matrix(c, ldc, m, n, 0)[...] = left @ right

        STATE.submit(run)
        return 0
