import pytest

import gdopt


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request):
    return gdopt.get_backend(request.param)
