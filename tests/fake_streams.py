"""Devices, streams, events and graphs of a device that is not there."""

import time

from fake_arrays import STATE, State


class Device:
    """A device by its number, and the block in which it is the current one."""

    def __init__(self, number=None):
        self.id = STATE.device if number is None else number
        self.before = []

    def __enter__(self):
        self.before.append(STATE.device)
        STATE.device = self.id
        return self

    def __exit__(self, *_):
        STATE.device = self.before.pop()

    def synchronize(self):
        STATE.wait()

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return self.id


class Graph:
    """What was written down while a stream captured."""

    def __init__(self, work):
        self.work = work

    def launch(self, stream=None):
        for part in self.work:
            part()


class Stream:
    """Does work at once; remembers what it was asked to wait for."""

    current = None

    def __init__(self, *, null=False, non_blocking=False):
        self.null, self.non_blocking = null, non_blocking
        self.ptr = id(self)
        self.log = []

    def __enter__(self):
        self.outer = Stream.current
        Stream.current = self
        return self

    def __exit__(self, *_):
        Stream.current = self.outer

    def synchronize(self):
        STATE.wait()

    def wait_event(self, event):
        self.log.append(("wait", event))

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def begin_capture(self, mode=None):
        assert STATE.recording is None
        if self.null:
            message = "cannot capture the default stream"
            raise RuntimeError(message)
        STATE.recording = []

    def end_capture(self):
        work, STATE.recording = STATE.recording, None
        return Graph(work)

    def is_capturing(self):
        return STATE.recording is not None


Stream.current = Stream(null=True)


class Event:
    """A mark in a stream."""

    def __init__(self, **_):
        self.recorded = 0
        self.time = 0.0

    def record(self, stream=None):
        self.recorded += 1
        self.time = time.perf_counter()
        (stream or Stream.current).log.append(("record", self))

    def synchronize(self):
        STATE.wait()


def alloc_pinned_memory(size):
    STATE.allocate()
    return bytearray(size)


State.make_device = staticmethod(Device)
