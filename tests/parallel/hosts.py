"""Two hosts on one machine: network namespaces with a cable between them."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from parallel.ranks import launcher

ADDRESSES = "10.77.0.1", "10.77.0.2"
# Stands in for ssh: agent ADDRESS COMMAND... Each host has a name of its own.
AGENT = """\
#!/bin/sh
case $1 in {0}) host={2} ;; {1}) host={3} ;; esac
shift
exec ip netns exec $host unshare -u sh -c "echo $host > /proc/sys/kernel/hostname; $*"
"""


def ip(*words):
    subprocess.run([shutil.which("ip"), *words], check=True, capture_output=True)


@contextlib.contextmanager
def two_hosts(folder):
    """Return the words that start Open MPI's mpirun over two hosts, two ranks on each.

    Where namespaces cannot be made, the test is skipped.
    """
    if not (os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare")):
        pytest.skip("hosts need root, iproute2 and util-linux")
    names = [f"gdopt{os.getpid()}{letter}" for letter in "ab"]
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
            stack.callback(ip, "netns", "del", name)
        far = ["peer", "name", "eth0", "netns", names[1]]
        ip("link", "add", "eth0", "netns", names[0], "type", "veth", *far)
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        agent = Path(folder) / "agent"
        agent.write_text(AGENT.format(*ADDRESSES, *names), encoding="utf-8")
        agent.chmod(0o755)
        yield [
            agent,
            ADDRESSES[0],
            "exec",
            launcher(),
            *("--host", ",".join(f"{address}:2" for address in ADDRESSES)),
            *("--prtemca", "plm_ssh_agent", agent, "--prtemca", "prte_if_include"),
            *(
                "eth0",
                "--map-by",
                "ppr:2:node:OVERSUBSCRIBE",
                "--mca",
                "pml",
                "ob1",
                "--mca",
                "btl",
                "self,sm,tcp",
            ),
            *("--mca", "btl_tcp_if_include", "eth0"),
        ]
