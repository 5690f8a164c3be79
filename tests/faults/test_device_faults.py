"""Arrays of two devices or libraries are not mixed; a stand-in plays the devices."""

import numpy as np
import pytest

import gdopt

ERROR = gdopt.BackendError


@pytest.mark.parametrize(
    ("one", "other", "devices"),
    [
        (np.ones(3), 0, "'W' is on cpu, 'b' is on cuda:0"),
        (0, np.ones(3), "'W' is on cuda:0, 'b' is on cpu"),
        (0, 1, "'W' is on cuda:0, 'b' is on cuda:1"),
    ],
)
def test_parameters_of_two_devices_are_refused(one, other, devices, stand_in_cupy):
    params = {
        name: stand_in_cupy.ndarray(np.ones(3), place)
        if isinstance(place, int)
        else place
        for name, place in (("W", one), ("b", other))
    }
    for make in (gdopt.SGD, gdopt.Arena.of):
        with pytest.raises(ERROR, match=f"arrays must be on one device: {devices}"):
            make(params)
    with pytest.raises(ERROR, match="arrays must be on one device: array 0 is on"):
        gdopt.backend_of(*params.values())


def test_a_gradient_on_the_gpu_for_parameters_on_the_cpu_is_refused(
    stand_in_cupy, unchanged
):
    optimizer = gdopt.Adam({"W": np.ones(3)})
    message = "the gradient of 'W' must be a numpy array on cpu, got a .*StandIn"
    with unchanged(optimizer), pytest.raises(ERROR, match=message):
        optimizer.step({"W": stand_in_cupy.ndarray(np.ones(3))})


def test_a_gradient_on_the_cpu_for_parameters_on_the_gpu_is_refused(
    stand_in_cupy, unchanged
):
    optimizer = gdopt.SGD({"W": stand_in_cupy.ndarray(np.ones(3), device=1)})
    message = "'W' must be a cupy array on cuda:1, got a numpy.ndarray"
    with unchanged(optimizer), pytest.raises(ERROR, match=message):
        optimizer.step({"W": np.ones(3)})


def test_a_gradient_on_another_gpu_is_refused(stand_in_cupy, unchanged):
    optimizer = gdopt.SGD({"W": stand_in_cupy.ndarray(np.ones(3), device=0)})
    message = "the gradient of 'W' must be on cuda:0, got one on cuda:1"
    with unchanged(optimizer), pytest.raises(ERROR, match=message):
        optimizer.step({"W": stand_in_cupy.ndarray(np.ones(3), device=1)})


def test_a_setting_on_the_gpu_for_parameters_on_the_cpu_is_refused(
    stand_in_cupy, unchanged
):
    optimizer = gdopt.SGD({"W": np.ones(3)})
    for host in (np.ones(3), 1.0):
        setting = stand_in_cupy.ndarray(host)
        message = "lr must be on cpu, got a cupy array"
        with unchanged(optimizer), pytest.raises(ERROR, match=message):
            optimizer.hyper["lr"] = setting
        with pytest.raises(ERROR, match=message):
            gdopt.SGD({"W": np.ones(3)}, lr=setting)


def test_a_setting_that_is_an_array_on_another_gpu_is_refused(stand_in_cupy, unchanged):
    optimizer = gdopt.SGD({"W": stand_in_cupy.ndarray(np.ones(3), device=0)})
    for host in (np.ones(3), 1.0):
        setting = stand_in_cupy.ndarray(host, device=1)
        with unchanged(optimizer), pytest.raises(ERROR, match="lr must be on cuda:0"):
            optimizer.hyper["lr"] = setting
