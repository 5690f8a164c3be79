"""Ctrl-C during a step is answered when the step is done."""

import os
import signal
import threading

import numpy as np
import pytest

import gdopt


def test_an_update_is_whole_when_ctrl_c_comes_in_its_middle(monkeypatch):
    params = {"a": np.ones(3), "b": np.ones(3)}
    opt = gdopt.SGD(params, lr=0.5)
    run = opt.executor.run

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        run(*arguments)

    monkeypatch.setattr(opt.executor, "run", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        opt.step({"a": np.ones(3), "b": np.ones(3)})
    assert params["a"].tolist() == params["b"].tolist() == [0.5] * 3
    assert opt.t == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_steps_in_other_threads_leave_the_signal_alone():
    p = np.ones(1)
    opt = gdopt.SGD(p, lr=0.5)
    thread = threading.Thread(target=opt.step, args=(np.ones(1),))
    thread.start()
    thread.join()
    assert p.tolist() == [0.5]
