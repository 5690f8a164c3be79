"""Checkpoints of runs on ranks: continued on any number, whole or not at all."""

import errno
import re
import shutil
import threading

import numpy as np
import pytest
from parallel.threads import on_ranks

import gdopt
from gdopt.errors import StateError
from gdopt.training import EarlyStopping, checkpoints, sharded_folder

RNG = np.random.default_rng(0)
X = RNG.standard_normal((130, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
STEPS = 12  # 3 epochs of 4 batches


def parts(ranks=None, **options):
    """Make a network, its optimizer and its batches: on ranks, or alone."""
    usual = {"keep_prob": 0.7, "dtype": float, "backend": "numpy", "seed": 3}
    model = gdopt.nn.Network((6, 12, 9, 2), **usual | options.pop("network", {}))
    lr, replicas = gdopt.schedules.cosine(0.05, 0, 16), options.pop("replicas", 4)
    if ranks is None:
        opt = gdopt.AdamW(model.params, lr=lr, clip_norm=0.5)
        return model, opt, gdopt.minibatches(X, Y, batch_size=40, seed=1)
    own = {"lr": lr, "clip_norm": 0.5, "replicas": replicas}
    opt = ranks.sharded(gdopt.AdamW, model.params, **own)
    how = {"batch_size": 40, "seed": 1, "replicas": replicas}
    return model, opt, ranks.minibatches(X, Y, **how)


def train(ranks, folder, *, until=None, epochs=3, **options):
    """Train, and return all that must be equal; `until` a step that fails."""
    model, opt, batches = parts(ranks, **options)

    def fail(record):
        if record.step == until:
            raise ZeroDivisionError

    how = {"epochs": epochs, "dev": (X[:30], Y[:30]), "checkpoint": folder}
    how |= {"callback": [EarlyStopping(9), fail], "checkpoint_seconds": 1e-9}
    try:
        result = gdopt.fit(model, opt, batches, **how)
    except ZeroDivisionError:
        return None
    history = [result.history[n].tobytes() for n in ("loss", "dev_accuracy", "lr")]
    state = repr(opt.state_dict()), repr(model.state_dict())
    return model.params.flat.tobytes(), history, result.nfev, result.fun, state


def on(size, *given, **options):
    """Train on ranks; return what is the same on all of them."""
    first, *others = on_ranks(size, lambda ranks: train(ranks, *given, **options))
    assert all(found == first for found in others)
    return first


@pytest.fixture
def saved(tmp_path):
    """Return a folder with checkpoints of 2 ranks, at steps 3 and 5."""
    on(2, tmp_path, until=6)
    return tmp_path


def names(folder):
    return sorted(path.name[20:] for path in folder.glob("checkpoint-*"))


@pytest.mark.parametrize("network", [{}, {"batch_norm": True}])
def test_saved_on_two_ranks_it_continues_on_others_to_the_same_bits(network, tmp_path):
    expected = on(2, tmp_path / "unbroken", network=network)
    on(2, tmp_path / "2", until=6, network=network)
    for size in (4, 1, 3):
        shutil.copytree(tmp_path / "2", tmp_path / str(size))
        assert on(size, tmp_path / str(size), network=network) == expected
        shards = [f"012.{rank}-of-{size}.npz" for rank in range(size)]
        assert names(tmp_path / str(size))[size + 1 :] == [*shards, "012.npz"]


def test_a_plain_run_continues_it_and_a_plain_one_is_continued(saved, tmp_path):
    unbroken = np.frombuffer(on(1, tmp_path / "unbroken")[0])
    assert train(None, saved, until=8) is None
    assert names(saved) == ["006.npz", "007.npz"]
    shutil.copytree(saved, tmp_path / "3")
    plain, sharded = train(None, saved), on(3, tmp_path / "3")
    for found in (plain, sharded):  # their sums have another order
        arrays = np.frombuffer(found[0]), unbroken
        np.testing.assert_allclose(*arrays, rtol=1e-9, atol=1e-12)
        assert found[2] == STEPS


def test_a_state_is_the_same_in_one_file_and_in_files_of_ranks(saved):
    head = saved / "checkpoint-000000000005.npz"
    whole = gdopt.training.shards.load_whole(head)
    assert gdopt.load(head)["method"]["state"] == {}

    def state(ranks):
        model, opt, batches = parts(ranks)
        for step, group in enumerate(list(batches) + list(batches)):
            if step == 5:
                return opt.state_dict()
            for part in group:
                how = {"batch_size": 40, "part": part}
                opt.add(model.loss_and_grads(*part.arrays, **how)[1], part)
            opt.step()
        return None

    (expected,) = on_ranks(1, state)
    assert repr(whole["method"]) == repr(expected)


def damaged_by(change):
    """Return a change of a file of a rank."""

    def damage(folder):
        for file in folder.glob("*.1-of-2.npz"):
            change(file)

    return damage


def of_another_run(folder):
    other = folder / "other"
    on(2, other, until=6, network={"seed": 4})
    for file in other.glob("*.1-of-2.npz"):
        shutil.copy(file, folder)


DAMAGE = {
    "missing": damaged_by(lambda file: file.unlink()),
    "twice": damaged_by(lambda f: shutil.copy(str(f).replace(".1-", ".0-"), f)),
    "truncated": damaged_by(lambda f: f.write_bytes(f.read_bytes()[:-100])),
    "of another run": of_another_run,
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("size", [1, 3])
def test_a_file_of_a_rank_that_is_not_whole_is_named_and_nothing_is_loaded(
    kind, size, saved
):
    DAMAGE[kind](saved)

    def load(ranks):
        run = model, opt, batches = parts(ranks)
        before = repr((model.state_dict(), opt.state_dict(), batches.state_dict()))
        with pytest.raises(StateError) as raised:
            gdopt.fit(*run, epochs=3, checkpoint=saved)
        after = repr((model.state_dict(), opt.state_dict(), batches.state_dict()))
        return before == after, str(raised.value)

    for unchanged, message in on_ranks(size, load):
        assert unchanged
        assert re.search(r"-000000000005\.1-of-2\.npz must hold the state of", message)
        assert "W1[64:72]" in message or "W2[" in message
        assert ("there is no such file" in message) == (kind == "missing")


def test_a_damaged_one_is_passed_over_for_the_one_before(saved):
    expected = on(2, saved / "unbroken")
    for file in saved.glob("*5.0-of-2.npz"):
        file.unlink()
    with pytest.warns(gdopt.errors.DataWarning, match="continues from checkpoint-0"):
        assert on(3, saved) == expected


def test_another_number_of_replicas_is_refused(saved):
    def load(ranks):
        run = parts(ranks, replicas=8)
        stopping = EarlyStopping(9)
        how = {"dev": (X[:30], Y[:30]), "callback": stopping, "checkpoint": saved}
        with pytest.raises(StateError, match=r"must be 4, got 8: give replicas=4"):
            gdopt.fit(*run, epochs=3, **how)
        return run[1].t

    assert on_ranks(2, load) == [0, 0]


@pytest.mark.parametrize("fails", ["write_shard", "save"])
@pytest.mark.parametrize("late", [False, True])
def test_a_full_disk_of_one_rank_is_an_error_on_all(fails, late, saved, monkeypatch):
    expected, before = on(2, saved / "unbroken"), names(saved)
    module = sharded_folder if fails == "write_shard" else checkpoints
    original, own = getattr(module, fails), threading.local()

    def write(*given):
        own.calls = getattr(own, "calls", 0) + 1
        if own.calls > late and own.rank == (fails == "write_shard"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*given)

    def train_on(ranks):
        own.rank = ranks.rank
        model, opt, batches = parts(ranks)
        how = {"dev": (X[:30], Y[:30]), "callback": EarlyStopping(9)}
        how |= {"checkpoint": saved, "checkpoint_seconds": 1e-9}
        with pytest.raises(OSError, match=r"rank \d: .*No space left"):
            gdopt.fit(model, opt, batches, epochs=3, **how)
        return opt.t

    monkeypatch.setattr(module, fails, write)
    # The first is written again, with the same bytes, at the step of the start.
    assert on_ranks(2, train_on) == ([7, 7] if late else [5, 5])
    assert names(saved) == before
    monkeypatch.undo()
    assert on(3, saved) == expected


def test_a_loop_by_hand_may_follow_a_run(tmp_path):
    def train_on(ranks):
        model, opt, batches = parts(ranks)
        gdopt.fit(model, opt, batches, epochs=1, checkpoint=tmp_path)
        for part in next(iter(batches)):
            opt.add(model.loss_and_grads(*part.arrays, part=part)[1], part)
        return opt.step()

    assert on_ranks(2, train_on) == [True, True]


def test_what_a_killed_rank_left_is_removed_at_the_next_start(saved):
    expected = on(2, saved / "unbroken")
    for left in (
        ".checkpoint-000000000007.0-of-2.npz.a-b-1-2-c.tmp",  # half a file
        "checkpoint-000000000007.1-of-2.npz",  # whole, without a head
    ):
        (saved / left).write_bytes(b"left")
    assert on(2, saved) == expected
    assert not list(saved.glob("*0007*")) + list(saved.glob(".*0007*"))


def test_a_run_on_ranks_locks_its_folder_once(tmp_path):
    def twice(ranks):
        model, opt, batches = parts(ranks)
        with (
            sharded_folder.ShardedFolder(tmp_path, 60, opt),
            pytest.raises(gdopt.ArgumentError, match=r"rank 0: .* but another uses"),
        ):
            gdopt.fit(model, opt, batches, epochs=1, checkpoint=tmp_path)

    on_ranks(2, twice)
