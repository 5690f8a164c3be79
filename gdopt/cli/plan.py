"""``gdopt plan``: which mini-batch size to use, with a table and a picture."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from gdopt import plots
from gdopt.cli import flags
from gdopt.cli.flags import LEARNING_RATES
from gdopt.cli.prepare import PreparedData, make_network
from gdopt.cli.session import Progress
from gdopt.files import free_name
from gdopt.imports import load_extra
from gdopt.nn import Network
from gdopt.optim import OPTIMIZERS
from gdopt.parallel import world
from gdopt.planner import NetworkStep, Plan, plan_batch_size
from gdopt.planner.devices import describe_devices, device_rows, measure_exchange
from gdopt.planner.request import SIZES
from gdopt.tables import write

DESCRIPTION = "Say which mini-batch size to use for training on some examples."
EXAMPLES = """\
Every size is tried with real training steps; everything is restored afterwards. Sizes
are judged by their peak memory, by examples per second, and by the noise of the
gradients: with the size that is chosen, an epoch learns nearly as much as with the
smallest one.

examples:
  gdopt plan digits
  gdopt plan digits --json plan.json
  gdopt plan points.csv --hidden 512,256 --sizes 128,256,512,1024,2048
  gdopt plan train-images-idx3-ubyte.gz --backend cupy --memory 8GB
  mpirun -n 2 gdopt plan digits --devices 8
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    add = parser.add_argument
    flags.add_problem(add)
    add("--json", metavar="FILE", help="write everything as JSON")
    flags.add_picture(add, "plan-NAME")
    flags.add_network(parser.add_argument_group("what is trained").add_argument)
    how = parser.add_argument_group("how it is planned").add_argument
    rule = "rise, as 64,128,256"
    rising = flags.reader(flags.sizes, rule, lambda found: found == sorted(set(found)))
    text = f"batch sizes to try ({','.join(map(str, SIZES))})"
    how("--sizes", type=rising, default=SIZES, metavar="N,N", help=text)
    how("--memory", metavar="BYTES", help="of another device than this: 8GB")
    text = "to keep free: 1GB (the larger of 5 %% and 256 MiB)"
    how("--margin", metavar="BYTES", help=text)
    text = "devices up to which to say what is fastest; needs several ranks (mpirun)"
    how("--devices", type=flags.count, metavar="N", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Plan, print the table, and write the picture."""
    for module in ("rich.progress", "matplotlib.figure"):  # fails now, not at the end
        load_extra(module, "train", "gdopt plan")
    problem, network = make_network(arguments)
    exchange = None
    if arguments.devices is not None:
        with world() as ranks:
            exchange = measure_exchange(ranks, network.params)
        if not ranks.is_main:
            return 0
    limits = {"memory": arguments.memory, "margin": arguments.margin}
    found = plan(arguments, problem, network, arguments.sizes, **limits)
    write(f"{problem.name}: {problem.counts['train']:,} training examples\n")
    write(f"{found}\n")
    if exchange is not None:
        rows = device_rows(found, exchange, arguments.devices)
        write(f"\n{describe_devices(rows, exchange)}\n")
    if arguments.json is not None:
        found.save(arguments.json)
    picture = arguments.picture or free_name(f"plan-{problem.name}", ".png")
    plots.batch_sizes(found, picture)
    write(f"picture {picture}\n")
    return 0


def plan(
    arguments: argparse.Namespace,
    problem: PreparedData,
    network: Network,
    sizes: Sequence[int] = SIZES,
    **limits: Any,
) -> Plan:
    """Plan the batch size for training a network, with a bar on standard error.

    The noise of the gradients is measured after an epoch, or 200 steps. `limits` are
    the memory and the margin of `gdopt.plan_batch_size`.
    """
    name = arguments.optimizer
    step = NetworkStep(
        network,
        OPTIMIZERS[name](network.params, lr=LEARNING_RATES[name]),
        dev=problem.dev,
        validate=False,
    )
    with Progress("planning") as shown:
        return plan_batch_size(
            step,
            problem.train,
            state=step,
            sizes=sizes,
            fixed_epochs=True,  # as `gdopt train` does
            noise_after=min(200, problem.counts["train"] // min(sizes)),
            progress=_reporter(shown),
            **limits,
        )


def _reporter(shown: Progress) -> Callable[[int, int, str], None]:
    """Return what shows a trial of a plan, in a line of its own if it is a new kind."""
    tried = set()

    def show(done: int, total: int, kind: str) -> None:
        text = f"planning {done}/{total}: {kind}"
        shown.show(done, total, text, line=kind not in tried)
        tried.add(kind)

    return show
