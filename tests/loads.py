"""Load from other threads, under which results must not change."""

import os
import threading

import numpy as np


class Load:
    """Threads that keep every core busy, and the interpreter's lock."""

    def __enter__(self):
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self.spin, daemon=True)
            for _ in range(os.cpu_count())
        ]
        for thread in self.threads:
            thread.start()

    def spin(self):
        x = np.ones(100_000)
        while not self.stop.is_set():
            x += x  # without the lock
            x /= 2

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
