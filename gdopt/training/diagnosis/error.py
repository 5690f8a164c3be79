"""Bias and variance, from the errors on training and dev set."""

from __future__ import annotations

from dataclasses import dataclass

from gdopt.checks import Range, check_number

SHARE = Range.parse("[0, 1]")
# The course calls gaps of .5 % and 1 % low, and of 10 % and more high: this is between.
LIMIT = 0.03

BIAS_ADVICE = (
    "a bigger network: more layers or more hidden units",
    "train longer, or with a better optimizer, such as Adam",
    "another architecture",
)
VARIANCE_ADVICE = (
    "more data, or more from the data there are (augmentation)",
    "regularization: L2, dropout, early stopping",
    "another architecture",
)
EASIER = (
    "the dev set is easier than the training set: see whether both come from one "
    "distribution"
)
DONE = "neither is in the way: measure the test error"


@dataclass(frozen=True)
class BiasVariance:
    """What errors say of bias and variance; `bias_variance` makes it.

    Attributes:
        train_error: share of the training set that is wrong.
        dev_error: share of the dev set that is wrong.
        base_error: share that cannot be avoided.
        bias_limit: the gap above which bias is high.
        variance_limit: the gap above which variance is high.
    """

    train_error: float
    dev_error: float
    base_error: float
    bias_limit: float
    variance_limit: float

    @property
    def bias(self) -> float:
        """The gap ``train_error - base_error``: what training leaves to be learned."""
        return self.train_error - self.base_error

    @property
    def variance(self) -> float:
        """The gap ``dev_error - train_error``: what does not carry over."""
        return self.dev_error - self.train_error

    @property
    def high_bias(self) -> bool:
        """Whether the training set is fitted too little."""
        return self.bias > self.bias_limit

    @property
    def high_variance(self) -> bool:
        """Whether the training set is fitted too closely."""
        return self.variance > self.variance_limit

    @property
    def verdict(self) -> str:
        """``"high bias"``, ``"high variance"``, both with "and", or ``"neither"``."""
        found = ["high bias"] * self.high_bias + ["high variance"] * self.high_variance
        return " and ".join(found) or "neither"

    @property
    def advice(self) -> tuple[str, ...]:
        """What helps, in the course's order: bias first, then variance."""
        found: dict[str, None] = {}
        if self.high_bias:
            found |= dict.fromkeys(BIAS_ADVICE)
        if self.high_variance:
            found |= dict.fromkeys(VARIANCE_ADVICE)
        if self.variance < -self.variance_limit:
            found |= {EASIER: None}
        return tuple(found) or (DONE,)

    def __str__(self) -> str:
        headline = (
            f"{self.verdict}: training error {self.train_error:.2%}, {self.bias:+.2%} "
            f"from the base error {self.base_error:.2%}; dev error "
            f"{self.dev_error:.2%}, {self.variance:+.2%} from the training error"
        )
        return "\n".join([headline, *(f"- {one}" for one in self.advice)])


def bias_variance(
    train_error: float,
    dev_error: float,
    *,
    base_error: float = 0.0,
    bias_limit: float = LIMIT,
    variance_limit: float = LIMIT,
) -> BiasVariance:
    """Tell bias ``train - base`` and variance ``dev - train``, and what helps.

    Bias is high where the training error is more than `bias_limit` above what can be
    reached, variance where the dev error is more than `variance_limit` above the
    training error. The course gives examples, no limits: gaps of up to 1 % are low in
    them, of 10 % and more high; 3 % is halfway by ratio.

    Args:
        train_error: wrong predictions on the training set as a share, in [0, 1]:
            ``1 - network.accuracy(...)``.
        dev_error: alike on the dev set.
        base_error: what the best that is known gets wrong, people say, in [0, 1].
        bias_limit: in [0, 1].
        variance_limit: in [0, 1].

    Raises:
        ArgumentError: a share is outside [0, 1], as a percentage is.
        ArgumentTypeError: it is no number.

    Source:
        Ng, Improving deep neural networks, week 1, "Bias / Variance" and "Basic recipe
        for machine learning".

    >>> bias_variance(0.01, 0.11).verdict
    'high variance'
    >>> print(bias_variance(0.15, 0.16))
    high bias: training error 15.00%, +15.00% from the base error 0.00%; dev error \
16.00%, +1.00% from the training error
    - a bigger network: more layers or more hidden units
    - train longer, or with a better optimizer, such as Adam
    - another architecture
    >>> bias_variance(0.15, 0.16, base_error=0.15).verdict  # blurred pictures, say
    'neither'
    """
    return BiasVariance(
        check_number("train_error", train_error, SHARE),
        check_number("dev_error", dev_error, SHARE),
        check_number("base_error", base_error, SHARE),
        check_number("bias_limit", bias_limit, SHARE),
        check_number("variance_limit", variance_limit, SHARE),
    )
