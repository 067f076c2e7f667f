"""Training on two machines by the commands of docs/many-machines.md: two launchers that meet over TCP on this one."""

import json
import os
import socket
import subprocess
import sys

import pytest
from tiny_runs import POSTERIOR

from gss.training.engine.log import read_metrics

SPEC = """
name: tiny
generator: scenes
domain: clear
length: {train: 12, val: 4, test: 2}
image_size: [48, 64]
"""


@pytest.mark.slow  # two launchers and two processes of torch
def test_two_launchers_train_one_posterior(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPEC)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stage = ["train", "posterior", f"data.spec={tmp_path}/tiny.yaml", *POSTERIOR]
    stage += ["train.steps=4", "loss.repaint_steps=2"]
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(rank)]
            + ["--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(port)]
            + ["-m", "gss", *stage, "--out", str(tmp_path / "two")],
            env=os.environ | {"ACCELERATE_USE_CPU": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [machine.communicate(timeout=500)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(said)
    assert json.loads((tmp_path / "two" / "recon.json").read_text())["encoder"]["miou"] > 0
    assert max(row["step"] for row in read_metrics(tmp_path / "two")) == 4
    assert (tmp_path / "two" / "posterior").is_dir()
