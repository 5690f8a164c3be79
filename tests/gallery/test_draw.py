import sys

import pytest

import gdopt
from gdopt import gallery
from gdopt.gallery.optimization import film
from gdopt.gallery.parts import canvas

figures = pytest.importorskip("matplotlib.figure")
NAMES = [picture.name for picture in gallery.PICTURES]


def test_pictures_have_names_of_their_own_and_claims():
    assert len(set(NAMES)) == len(NAMES) == 26
    exported = [vars(gallery)[name] for name in gallery.__all__]
    drawn = [thing for thing in exported if isinstance(thing, gallery.Picture)]
    assert set(drawn) == set(gallery.PICTURES)
    for picture in gallery.PICTURES:
        assert picture.claim[0].isupper()
        assert not picture.claim.endswith(".")
        assert picture.claim.isascii()  # --list writes it to any terminal
        assert picture.measure.__doc__


def test_every_picture_has_a_theme():
    themed = [picture for pictures in gallery.THEMES.values() for picture in pictures]
    assert themed == list(gallery.PICTURES)


@pytest.mark.parametrize(
    "picture",
    [picture for picture in gallery.PICTURES if picture.ending == ".png"],
    ids=lambda picture: picture.name,
)
def test_nothing_that_is_written_on_a_picture_is_cut_off(picture, numbers, laid_out):
    picture.paint(numbers(picture), "unused.png", picture.claim)
    (figure,) = laid_out
    assert figure.get_suptitle() == picture.claim
    texts = [*figure.texts]
    for axis in figure.axes:
        texts += [axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label]
        legend = axis.get_legend()
        if legend is not None:
            texts += legend.get_texts()
            inside = legend.get_window_extent().padded(-2)
            assert axis.bbox.fully_containsx(inside.x0)
            assert axis.bbox.fully_containsx(inside.x1)
            assert axis.bbox.fully_containsy(inside.y0)
    for text in texts:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            where = (picture.name, text.get_text())
            assert figure.bbox.x0 <= box.x0, where
            assert box.x1 <= figure.bbox.x1, where
            assert figure.bbox.y0 <= box.y0, where
            assert box.y1 <= figure.bbox.y1, where


def test_the_film_has_its_frames_and_then_rests(tmp_path, numbers, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(film, "REST", 2)
    frames = [0, 60, 120]
    case = {**numbers(gallery.saddle_film), "frames": frames}
    gallery.saddle_film.paint(case, tmp_path / "film.gif", "claim")
    with image.open(tmp_path / "film.gif") as shown:
        assert shown.is_animated
        assert shown.size == (448, 384)
        durations = []
        for frame in range(shown.n_frames):
            shown.seek(frame)
            durations.append(shown.info["duration"])
    assert sum(durations) == 100 * (3 + 2)  # equal frames become one that lasts


def test_pictures_are_drawn_into_a_new_folder_and_their_numbers_given(tmp_path):
    told = []
    folder = tmp_path / "a" / "pictures"
    drawn = gallery.draw(
        folder, ["weights", "correction"], progress=lambda *a: told.append(a)
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "correction.png",
        "weights.png",
    ]
    assert list(drawn) == ["weights", "correction"]
    assert drawn["weights"]["sums"][0.5] == 0.75
    assert told == [(0, 2, "weights"), (1, 2, "correction"), (2, 2, "")]
    content = (folder / "weights.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]) == 1800


def test_a_picture_alone_is_drawn_where_one_says(tmp_path):
    numbers = gallery.correction(tmp_path / "mine.svg")
    assert "Without correction" in (tmp_path / "mine.svg").read_text()
    assert len(numbers["values"]) == 240


def test_a_picture_shows_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        gallery.correction(tmp_path / f"{name}.png")
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one == two


def test_what_is_in_a_folder_is_never_overwritten(tmp_path):
    (tmp_path / "family.png").write_text("mine")
    with pytest.raises(gdopt.ArgumentError, match=r"with family\.png in it"):
        gallery.draw(tmp_path, ["weights"])
    with pytest.raises(gdopt.ArgumentError, match="got a file"):
        gallery.draw(tmp_path / "family.png", ["weights"])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["weights", "sadle"], gdopt.ArgumentError, "names must be of .*, got 'sadle'"),
        (["weights", "weights"], gdopt.ArgumentError, "got 'weights' twice"),
        ("weights", gdopt.ArgumentTypeError, "names must be a list or tuple, got str"),
        ([None], gdopt.ArgumentError, "got None"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_made(
    tmp_path, names, error, message
):
    with pytest.raises(error, match=message):
        gallery.draw(tmp_path / "new", names)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_was_interrupted_leaves_no_torn_file(tmp_path, monkeypatch):
    def tear(_figure, path, **_):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(figures.Figure, "savefig", tear)
    with pytest.raises(KeyboardInterrupt):
        gallery.draw(tmp_path, ["weights"])
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = r'drawing needs matplotlib, .* pip install "gdopt\[train\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        gallery.draw(tmp_path / "new")
    with pytest.raises(gdopt.MissingExtraError, match=message):
        gallery.saddle_paths(tmp_path / "saddle.png")
    assert not list(tmp_path.iterdir())


def test_the_optimizers_have_colours_and_widths():
    assert list(canvas.COLOURS) == list(canvas.WIDTHS)
    assert len(set(canvas.COLOURS.values())) == 4


def test_small_pictures_have_half_the_width_and_few_colours(tmp_path):
    images = pytest.importorskip("PIL.Image")
    found = {}
    for small in (False, True):
        folder = tmp_path / f"small-{small}"
        gallery.draw(folder, ["weights"], small=small)
        with images.open(folder / "weights.png") as image:
            colours = image.convert("RGB").getcolors(1 << 20)
            found[small] = (*image.size, len(colours))
    (width, height, many), (half_width, half_height, few) = found[False], found[True]
    assert (half_width, half_height) == (width // 2, height // 2)
    assert many > 128 >= few
