"""Images flipped, shifted and rotated: against SciPy, and alike on every backend."""

from functools import partial

import numpy as np
import pytest

import gdopt
from gdopt.data.augment import flip, rotate, shift

FORMS = {
    "images": ((6, 7), None),
    "with channels": ((6, 7, 3), None),
    "flat": ((42,), (6, 7)),
    "flat with channels": ((126,), [6, 7, 3]),
}
TRANSFORMS = {
    "left and right": partial(flip, axis=2),
    "top and bottom": partial(flip, axis=1),
    "shift": partial(shift, most=3),
    "shift, edge": partial(shift, most=3, fill="edge"),
    "rotate": partial(rotate, degrees=40),
    "rotate, edge": partial(rotate, degrees=40, fill="edge"),
}


def draw(shape=(6, 7), count=12, dtype=np.float64):
    """Make images that cannot be written to."""
    images = 10 * np.random.default_rng(1).random((count, *shape))
    images = images.astype(dtype)
    images.flags.writeable = False
    return images


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_share_of_the_images_is_flipped():
    images = draw(count=4000)
    for axis, flipped in ((1, images[:, ::-1]), (2, images[:, :, ::-1])):
        found = flip(images, axis=axis, share=0.25, generator=rng())
        changed = (found != images).any(axis=(1, 2))
        assert changed.mean() == pytest.approx(0.25, abs=0.02)
        assert np.array_equal(found[changed], flipped[changed])
        assert np.array_equal(found[~changed], images[~changed])
    assert np.array_equal(flip(images, axis=1, share=0, generator=rng()), images)
    whole = flip(images, axis=1, share=1, generator=rng())
    assert np.array_equal(whole, images[:, ::-1])


@pytest.mark.parametrize(("fill", "mode"), [("zero", "constant"), ("edge", "nearest")])
def test_shifts_equal_scipys(fill, mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    images = draw()
    found = shift(images, most=3, fill=fill, generator=rng())
    steps = rng().integers(-3, 3, (2, len(images)), endpoint=True)
    assert steps.min() == -3
    assert steps.max() == 3
    for image, moved, step in zip(images, found, steps.T, strict=True):
        expected = ndimage.shift(image, step, order=0, mode=mode)
        assert np.array_equal(moved, expected)


@pytest.mark.parametrize(
    ("fill", "mode"), [("zero", "grid-constant"), ("edge", "nearest")]
)
@pytest.mark.parametrize("shape", [(6, 7), (8, 8), (5, 9), (1, 4), (6, 7, 3)])
@pytest.mark.parametrize("degrees", [3, 40, 180])
def test_rotations_equal_scipys(fill, mode, shape, degrees):
    ndimage = pytest.importorskip("scipy.ndimage")
    images = draw(shape)
    found = rotate(images, degrees=degrees, fill=fill, generator=rng())
    angles = rng().uniform(-degrees, degrees, len(images))
    for image, turned, angle in zip(images, found, angles, strict=True):
        expected = ndimage.rotate(image, angle, reshape=False, order=1, mode=mode)
        assert turned == pytest.approx(expected, abs=1e-12)


def test_a_rotation_by_nothing_changes_nothing():
    for dtype in (np.float16, np.float32, np.float64):
        images = draw(dtype=dtype)
        assert np.array_equal(rotate(images, degrees=0, generator=rng()), images)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_form_of_images_gives_the_same(name, dtype):
    transform, expected = TRANSFORMS[name], None
    with_channels = draw((6, 7, 3), dtype=dtype)
    for form, (shape, told) in FORMS.items():
        images = with_channels if "channels" in form else with_channels[..., 0]
        images = images.reshape(-1, *shape)
        before = images.copy()
        found = transform(images, generator=rng(), shape=told)
        assert (found.shape, found.dtype) == (images.shape, images.dtype)
        assert np.array_equal(before, images)
        assert not np.shares_memory(found, images)
        if expected is None:
            expected = found
        plain = found.reshape(12, 6, 7, -1)[..., 0]
        assert np.array_equal(plain, expected)
    strided = np.asfortranarray(with_channels[..., 0])
    assert np.array_equal(transform(strided, generator=rng()), expected)


def test_whole_numbers_are_flipped_and_shifted_as_they_are():
    images = (25 * draw()).astype(np.uint8)
    for name in ("left and right", "shift", "shift, edge"):
        found = TRANSFORMS[name](images, generator=rng())
        exact = TRANSFORMS[name](images.astype(float), generator=rng())
        assert found.dtype == np.uint8
        assert np.array_equal(found, exact)
    with pytest.raises(
        gdopt.ArgumentTypeError, match=r"images must be float16.* uint8"
    ):
        rotate(images, degrees=3, generator=rng())


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("cuda")  # a real GPU rotates with other last bits
def test_a_device_gets_the_bits_of_the_cpu(name, form, dtype, cp):
    shape, told = FORMS[form]
    images = draw(shape, dtype=dtype)
    expected = TRANSFORMS[name](images, generator=rng(), shape=told)
    found = TRANSFORMS[name](cp.asarray(images), generator=rng(), shape=told)
    assert isinstance(found, cp.ndarray)
    assert found.dtype == dtype
    assert found.get().tobytes() == expected.tobytes()


@pytest.mark.gpu
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gpu_gets_what_the_cpu_gets(name, dtype):
    cp = pytest.importorskip("cupy")
    images = draw((6, 7, 3), dtype=dtype)
    expected = TRANSFORMS[name](images, generator=rng())
    found = TRANSFORMS[name](cp.asarray(images), generator=rng()).get()
    assert found.dtype == dtype
    rounding = float(np.finfo(dtype).eps) * 100  # exact but for rotations
    assert found == pytest.approx(expected, abs=rounding, rel=rounding)


def test_no_images_are_fine():
    for transform in TRANSFORMS.values():
        assert transform(draw(count=0), generator=rng()).shape == (0, 6, 7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(flip, axis=0), gdopt.ArgumentError, "axis must be 1 .* or 2"),
        (partial(flip, axis=True), gdopt.ArgumentError, "axis must be 1 .* or 2"),
        (
            partial(flip, axis=1, share=1.5),
            gdopt.ArgumentError,
            r"share must be in \[0",
        ),
        (partial(shift, most=-1), gdopt.ArgumentError, "most must be a whole number"),
        (partial(shift, most=1.0), gdopt.ArgumentTypeError, "most must be a whole"),
        (
            partial(shift, most=1, fill="wrap"),
            gdopt.ArgumentError,
            "fill must be one of zero, edge",
        ),
        (partial(rotate, degrees=-1), gdopt.ArgumentError, r"degrees must be in \[0"),
        (
            partial(rotate, degrees=1, fill=0),
            gdopt.ArgumentError,
            "fill must be one of zero, edge",
        ),
        (partial(shift, most=1, shape=(6, 7)), gdopt.ArgumentError, "images must be"),
        (partial(shift, most=1, shape=7), gdopt.ArgumentTypeError, "shape must be a"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(draw(), generator=rng())


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_bad_images_and_generators_are_refused(transform):
    with pytest.raises(gdopt.ArgumentTypeError, match="generator must be a numpy"):
        transform(draw(), generator=0)
    with pytest.raises(gdopt.ArgumentTypeError, match="NumPy or CuPy array, got list"):
        transform([[1.0]], generator=rng())
    with pytest.raises(gdopt.ArgumentError, match=r"flat with a shape, got \(12, 42\)"):
        transform(draw((42,)), generator=rng())
    with pytest.raises(gdopt.ArgumentError, match=r"got \(12, 42\) with \(6, 6\)"):
        transform(draw((42,)), generator=rng(), shape=(6, 6))
