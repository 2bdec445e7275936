"""A training stage as several processes: the result of one, and what is left when one of them dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from slimstream.cli.parser import main
from slimstream.core.paths import Paths
from tests.pipeline.tiny_study import FIT, study

EPOCHS = 8
# Frozen layers: where all learn, Adam makes of gradients that are rounding alone steps of full length.
TRAIN = {
    "model": "two_stream_efficientnet_lite0",
    "model_args": {"freeze": "all"},
    "fit": {**FIT, "epochs": EPOCHS, "batch_size": 5, "micro_batch": 2, "select": "last"}
    | {"augment": {"crop": 1.0, "hflip": 0.0}},  # so that what frozen layers make of a frame is computed once
}


def start(paths: Paths, processes: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slimstream", "--root", str(paths.root), "train"]
    environment = {
        **os.environ,
        "SLIMSTREAM_PROCESSES": str(processes),
        "SLIMSTREAM_TRACKING": "off",
        "SLIMSTREAM_CACHE": "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def ranks(parent: subprocess.Popen[str], paths: Paths) -> list[psutil.Process]:
    """The processes of a training, once the first epoch is behind them."""
    while not list(paths.cache.glob("work/original/*/state.safetensors")):
        assert parent.poll() is None, "training ended before it could be killed"
        time.sleep(0.02)
    found: dict[str, psutil.Process] = {}
    while len(found) < 2:  # a process that is only being loaded has no environment of its own yet
        assert parent.poll() is None
        time.sleep(0.02)
        found = {
            rank: child
            for child in psutil.Process(parent.pid).children()
            if (rank := child.environ().get("RANK"))
        }
    return [found["0"], found["1"]]


def listening(processes: list[psutil.Process]) -> set[str]:
    """The addresses at which processes can be reached."""
    found = [port for one in processes for port in one.net_connections("tcp") if port.status == "LISTEN"]
    return {port.laddr.ip for port in found}


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=30)[1]


@pytest.mark.box
def test_two_processes_that_are_killed_in_turn_end_where_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    # Of a network that is frozen as a whole, pruning can reach no share of the parameters.
    one, two = (study(tmp_path / name, train=TRAIN, prune={"rate": 0.5}) for name in ("one", "two"))
    assert start(one, 1).wait() == 0

    parent = start(two, 2)
    both = ranks(parent, two)
    assert listening([*both, psutil.Process(parent.pid)]) <= {"127.0.0.1", "::1"}
    both[1].kill()
    said = parent.communicate()[1]
    assert parent.returncode == 2 and gone(both)
    assert "train: process 1 of 2 ended with status -9, so all were stopped" in said.splitlines()[-1]
    assert not two.model("original").exists() and not two.metrics("train").exists()

    parent = start(two, 2)
    both = ranks(parent, two)
    os.kill(parent.pid, signal.SIGKILL)
    assert gone(both), "processes outlive the stage"
    parent.communicate()

    parent = start(two, 2)
    assert parent.communicate() and parent.returncode == 0
    weights = [load_file(paths.model("original") / "weights.safetensors") for paths in (one, two)]
    for name, value in weights[0].items():
        assert torch.allclose(weights[1][name], value, atol=1e-5), name
    curves = [paths.curves("original").read_text().splitlines() for paths in (one, two)]
    assert len(curves[0]) == len(curves[1]) == EPOCHS + 1
    scores = [json.loads(paths.metrics("train").read_text()) for paths in (one, two)]
    for name in ("val_macro_f1", "val_loss", "val_brier", "params", "macs"):
        assert scores[0][name] == pytest.approx(scores[1][name], rel=1e-4), name


@pytest.mark.box
def test_torchrun_starts_it_as_well_and_mistakes_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = study(tmp_path, train={"model": "two_stream_mobilevit", "fit": FIT})  # four clips at once
    monkeypatch.setenv("SLIMSTREAM_PROCESSES", "2")
    assert main(["--root", str(paths.root), "train"]) == 2
    said = capfd.readouterr().err
    assert (
        said.count("a step has 1 micro-batches (batch_size 4, micro_batch 8, 12 clips) for 2 processes") == 1
    )
    assert "Traceback" not in said and "torch/distributed" not in said

    monkeypatch.setenv("SLIMSTREAM_PROCESSES", "two")
    assert main(["--root", str(paths.root), "train"]) == 2
    assert "SLIMSTREAM_PROCESSES is 'two'" in capfd.readouterr().err

    monkeypatch.setenv("SLIMSTREAM_TRACKING", "off")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    stage = [*torchrun, "-m", "slimstream", "--root", str(paths.root)]
    assert subprocess.run([*stage, "train"]).returncode == 0
    assert json.loads(paths.run("train").read_text()) == {"run_id": None}
    subprocess.run([*stage, "baseline"])
    assert "torchrun is for train, teachers, prune, distill" in capfd.readouterr().err
