"""Pictures through every stage: discs with and without a black speck, one part seen several times."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.datasets.dataset import ClipDataset
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.serving.pyfunc import PyfuncModel
from slimstream.stages.extract import stage as extract
from slimstream.stages.ingest.scan import scan
from slimstream.stages.validate import stage as validate
from tests.unit.clips.rendered_clips import write_picture

SIZE = 32
FIT = {"epochs": 6, "batch_size": 8, "lr": 1e-2, "augment": {"crop": 1.0, "vflip": 0.5}}
PARAMS: dict[str, Any] = {
    "recipe": "discs",
    "ingest": {"source": "discs"},
    "extract": {"frames": 1, "size": [SIZE, SIZE], "flow": "none", "grey": True},
    "split": {"group_by": ["part"]},
    "train": {"model": "tiny_picture_net", "fit": FIT},
    "prune": {"rate": 0.3, "leave": ["head"], "fit": {**FIT, "epochs": 1}},
    "distill": {"views": 2, "fit": {**FIT, "epochs": 1}},
    "export": {"runtimes": ["onnx", "openvino"], "latency_runs": 5},
    "evaluate": {"resamples": 100, "latency_runs": 5},
}


def disc(seed: int, speck: bool) -> np.ndarray:
    """(48, 56, 3) a grey disc of its own shade and place."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(20, 40, (48, 56), np.uint8)
    x, y = (int(v) for v in rng.integers(20, 28, 2))
    cv2.circle(picture, (x, y), 16, int(rng.integers(150, 220)), -1)
    if speck:
        cv2.circle(picture, (x + int(rng.integers(-8, 8)), y + int(rng.integers(-8, 8))), 3, 0, -1)
    return np.stack([picture] * 3, axis=-1)


def plant(root: Path) -> Paths:
    """A folder of 10 parts with 6 pictures each, some of them not as they should be."""
    table = ["path,label,part"]
    for part in range(10):
        for number in range(6):
            speck = (part + number) % 2 == 0
            suffix = ("png", "bmp", "jpg")[number % 3]
            key = f"{'train' if number else 'test'}/{part}-{number}.{suffix}"
            write_picture(root / "discs" / key, disc(10 * part + number, speck))
            table.append(f"{key},{'NG' if speck else 'OK'},p{part}")
    first, broken = root / "discs/test/0-0.png", root / "discs/train/broken.jpg"
    (root / "discs/train/again.png").write_bytes(first.read_bytes())
    broken.write_bytes((root / "discs/train/0-2.jpg").read_bytes()[:-200])
    (root / "discs/metadata.csv").write_text(
        "\n".join([*table, "train/again.png,NG,p0", "train/broken.jpg,NG,p0"])
    )
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(PARAMS, file)
    return Paths(root)


def in_this_process(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """`core.parallel.parallel_map` without the seconds that spawned processes take."""
    return enumerate(map(function, items))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Paths, dict[str, dict[str, float]]]]:
    torch.set_num_threads(1)
    paths = plant(tmp_path_factory.mktemp("pictures"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLIMSTREAM_CACHE", raising=False)
        for stage in (validate, extract):
            patch.setattr(stage, "parallel_map", in_this_process)
        params = load_params(paths.params)
        scan(params.ingest, params.split.group_by, paths)
        stages = [stage for name, stage in STAGES.items() if name != "teachers"]
        yield paths, {stage.name: stage.run(params, paths, null_log) for stage in stages}


Run = tuple[Paths, dict[str, dict[str, float]]]


def test_copies_and_broken_pictures_are_quarantined_and_the_rest_is_fine(run: Run) -> None:
    paths, metrics = run
    assert metrics["ingest"]["problems"] == 1
    bad = pd.read_csv(paths.validation / "quarantine.csv").set_index("key")["reason"].to_dict()
    assert bad == {
        "train/again.png": "byte-identical to test/0-0.png",
        "train/broken.jpg": "the picture is truncated",
    }
    clips = pd.read_parquet(paths.clips)
    assert len(clips) == 60 and set(clips["codec"]) == {"png", "bmp", "jpeg"}
    assert clips[["frames", "fps", "seconds", "width", "height"]].drop_duplicates().to_numpy().tolist() == [
        [1, 0, 0, 56, 48]
    ]


def test_all_pictures_are_in_one_pack(run: Run) -> None:
    paths, metrics = run
    assert sorted(path.name for path in paths.packs.iterdir()) == ["frames.npy", "index.parquet"]
    assert np.load(paths.packs / "frames.npy", mmap_mode="r").shape == (60, SIZE, SIZE, 1)
    assert (metrics["extract"]["clips"], metrics["extract"]["frames"]) == (60, 60)
    assert "flow_saturation" not in metrics["extract"]
    clips = pd.read_parquet(paths.clips).sample(frac=1, random_state=0)
    packs = ClipDataset(paths.packs, clips["id"].tolist(), [0] * len(clips))
    for position, path in enumerate(clips["path"][:5]):
        small = cv2.resize(
            cv2.imread(str(paths.ingested / path), 0), (SIZE, SIZE), interpolation=cv2.INTER_AREA
        )
        assert np.array_equal(packs.all_frames(position), small[None, ..., None])


def test_parts_stay_together(run: Run) -> None:
    parts = pd.read_parquet(run[0].split)
    assert (parts.groupby("group")["part"].nunique() == 1).all() and parts["group"].nunique() == 10
    assert set(parts["part"]) == {"train", "val", "test"}


def test_a_network_learns_them_and_all_models_are_judged(run: Run) -> None:
    paths, metrics = run
    assert metrics["train"]["val_accuracy"] > 0.7
    scores = metrics["evaluate"]
    assert {name.split(".")[0] for name in scores} >= {
        "baseline",
        "original",
        "pruned",
        "control",
        "distilled",
    }
    assert scores["pruned.params"] < scores["original.params"]
    assert "original.video_accuracy" not in scores, "every picture is its own"
    page = paths.report.read_text()
    assert "hatched is decoding (" in page and "1 sampled frame," in page


def test_the_deployed_form_takes_picture_files(run: Run) -> None:
    paths, _ = run
    model = PyfuncModel()
    artifacts = {"preprocessing.json": str(paths.export("pruned") / "preprocessing.json")}
    model.load_context(SimpleNamespace(artifacts=artifacts))
    measured = pd.read_parquet(paths.predictions).query("model == 'pruned'")
    files = pd.read_parquet(paths.clips).set_index("id").loc[measured["id"], "path"]
    answers = model.predict(None, [*(str(paths.ingested / file) for file in files), "gone.png"])
    assert answers["error"].tolist() == [""] * len(files) + ["the file is missing"]
    for name in ("p_NG", "p_OK"):
        np.testing.assert_allclose(answers[name][:-1], measured[name], atol=1e-5)


def test_flow_of_pictures_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    params = load_params(run[0].params)
    moving = params.model_copy(
        update={"extract": params.extract.model_copy(update={"flow": "dis", "grey": False})}
    )
    with pytest.raises(UserError, match=r"extract.flow is 'dis', .*has no motion: set extract.flow to none"):
        STAGES["extract"].run(moving, run[0], null_log)
    assert (run[0].packs / "frames.npy").exists()


def ten_bits(root: Path, bits: int | None, bright: bool) -> tuple[Params, Paths]:
    """Pictures of a camera of 10 bits in files of 16; with `bright` also one that fills all 16."""
    table = ["path,label,part"]
    for part in range(6):
        for number in range(4):
            shallow = disc(10 * part + number, number % 2 == 0)[..., 0].astype(np.uint16)
            deep = shallow * (257 if bright and part == number == 0 else 4)
            key = f"{part}-{number}.{('tif', 'png')[number % 2]}"
            (root / "discs").mkdir(exist_ok=True)
            assert cv2.imwrite(str(root / "discs" / key), deep)
            table.append(f"{key},{('NG', 'OK')[number % 2]},p{part}")
    (root / "discs/metadata.csv").write_text("\n".join(table))
    settings = {
        **PARAMS,
        "extract": {**PARAMS["extract"], "bits": bits},
        "validate": {"max_quarantined": 0.9},
    }
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(settings, file)
    paths = Paths(root)
    params = load_params(paths.params)
    scan(params.ingest, params.split.group_by, paths)
    STAGES["ingest"].run(params, paths, null_log)
    return params, paths


def test_a_set_of_10_bits_in_16_is_refused_with_the_setting_that_scales_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "parallel_map", in_this_process)
    params, paths = ten_bits(tmp_path, None, bright=False)
    with pytest.raises(UserError, match=r"none of 24 clips can be used, 24 for this: .* set extract\.bits"):
        STAGES["validate"].run(params, paths, null_log)
    reasons = pd.read_csv(paths.validation / "quarantine.csv")["reason"]
    assert reasons.str.contains(r"only 10 are used .* set extract\.bits").all()


def test_with_the_setting_they_are_packed_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in (validate, extract):
        monkeypatch.setattr(stage, "parallel_map", in_this_process)
    params, paths = ten_bits(tmp_path, 10, bright=False)
    assert STAGES["validate"].run(params, paths, null_log)["accepted"] == 24
    STAGES["extract"].run(params, paths, null_log)
    assert np.load(paths.packs / "frames.npy").max() > 150


def outcomes(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """As `in_this_process`, but an item that fails yields its error."""
    for position, item in enumerate(items):
        try:
            yield position, work(item)
        except UnreadableVideo as error:
            yield position, error


@pytest.mark.parametrize("bits, accepted", [(None, 24), (10, 23), (16, 24)])
def test_one_bright_picture_says_that_the_others_are_dark_and_does_not_fit_10_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int | None, accepted: int
) -> None:
    monkeypatch.setattr(validate, "parallel_map", outcomes)
    monkeypatch.setattr(
        validate.twins, "near_twins", lambda thumbs, _: list(range(len(thumbs)))
    )  # most are black
    params, paths = ten_bits(tmp_path, bits, bright=True)
    assert STAGES["validate"].run(params, paths, null_log)["accepted"] == accepted
