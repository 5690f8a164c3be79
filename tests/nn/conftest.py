import numpy as np
import pytest

import gdopt


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request):
    return gdopt.get_backend(request.param)


@pytest.fixture
def numeric_gradient():
    """Two-sided differences of a float64 function of an array, element by element."""

    def differentiate(function, array, step=1e-6):
        gradient = np.empty_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = function()
            array[index] = kept - step
            gradient[index] = (above - function()) / (2 * step)
            array[index] = kept
        return gradient

    return differentiate


@pytest.fixture
def relative_error():
    """Distance of two gradients over the sum of their lengths, as the course has it."""

    def measure(one, other):
        lengths = np.linalg.norm(one) + np.linalg.norm(other)
        return np.linalg.norm(one - other) / lengths

    return measure
