"""Images changed at random while training: flipped, shifted, rotated.

Images are (m, h, w) or (m, h, w, c); or flat, (m, h * w) or (m, h * w * c), where a
`shape` tells (h, w) or (h, w, c). All is drawn on the host, so that one seed gives the
same on every backend; images stay on their device, and new arrays are made of them.
Labels have no part in this: it is the caller's to choose changes that leave a 6 a 6.

Source: Ng, Improving deep neural networks, week 1, "Other regularization methods".
"""

from gdopt.data.augment.composition import Augment
from gdopt.data.augment.transforms import flip, rotate, shift

__all__ = ["Augment", "flip", "rotate", "shift"]
