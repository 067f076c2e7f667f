"""`gss predict`: scores and alarms, continued runs, chosen files, sizes and videos."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from joint_toys import joint_pipeline
from PIL import Image
from tiny_pipeline import tiny_pipeline

from gss.cli import main
from gss.core.errors import InputError
from gss.core.words import counted
from gss.data.files import find_inputs
from gss.jobs.predict.journal import Journal, read_journal
from gss.jobs.predict.records import Failure, Prediction, Predictions, Settings
from gss.jobs.predict.video import read_video
from gss.ood import FittedScores
from gss.ood.alarms import ALARM_RATES

SCALE = {"short_side": 24, "low": 20, "high": 30}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    pipeline = tiny_pipeline(train_scale=SCALE)
    alarms = {"max_logit": [-20.0 + index for index in range(len(ALARM_RATES))]}
    pipeline.register_modules(ood=FittedScores.from_tensors({}, alarms=alarms))
    pipeline.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for number in (1, 2, 10):
        path = tmp_path / "photos" / "walk" / f"frame_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 28, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def report_of(out):
    return json.loads((out / "predictions.json").read_text())


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_scores_and_alarms(saved, photos, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--scores", "max_logit", "--alarm-rate", "0.1", "--outputs", "mask,scores,heat,alarms"]
    assert main(["predict", saved, str(photos), "--out", str(out), *options]) == 0
    report = report_of(out)
    assert report["thresholds"] == {"max_logit": -18.0}
    assert [Path(record["image"]).name for record in report["images"]] == ["frame_1.png", "frame_2.png", "frame_10.png"]
    alarms = 0
    for record in report["images"]:
        assert set(record["files"]) == {"mask", "max_logit", "max_logit_heat", "max_logit_alarms"}
        values = np.load(out / record["files"]["max_logit"])
        assert values.shape == (20, 28) and values.dtype == np.float32
        flagged = np.asarray(Image.open(out / record["files"]["max_logit_alarms"]))
        assert np.array_equal(flagged > 0, values >= -18)
        summary = record["scores"]["max_logit"]
        assert summary["alarm_share"] == pytest.approx((values >= -18).mean())
        assert summary["largest"] == pytest.approx(values.max())
        alarms += summary["alarms"]
    said = capsys.readouterr().out
    assert "3 mask, 3 max_logit.npy, 3 max_logit.png, 3 max_logit_alarms.png, predictions.json" in said
    assert f"max_logit: {counted(alarms, 'alarm')} in" in said and "at 0.1 of the pixels" in said
    assert "shorter side resized to 24, as in training; --size native keeps theirs" in said


def test_a_score_without_threshold_is_written_without_alarms(saved, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", saved, str(photos), "--out", str(out), "--scores", "entropy"]) == 0
    assert "entropy: no alarms" in capsys.readouterr().out
    assert "entropy_alarms" not in report_of(out)["images"][0]["files"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scores", "entropi"], "did you mean 'entropy'"),
        (["--scores", "gmm_max"], "needs a density head"),
        (["--scores", "entropy", "--alarm-rate", "0.1"], "no threshold of alarms for score 'entropy'"),
        (["--scores", "max_logit", "--alarm-rate", "0.9"], "from 0.001 to 0.5"),
        (["--alarm-rate", "0.1"], "name some with --scores"),
        (["--outputs", "mask,heat"], "--outputs heat needs scores"),
        (["--outputs", "masks"], "did you mean 'mask'"),
        (["--scales", "1,0"], "scales is"),
        (["--size", "0x4"], "'0x4' is not HEIGHTxWIDTH"),
    ],
)
def test_mistakes_end_with_one_line(saved, photos, tmp_path, capsys, options, words):
    try:
        code = main(["predict", saved, str(photos), "--out", str(tmp_path / "out"), *options])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_killed_run_continues_where_it_was(saved, photos, tmp_path, capsys):
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = ["predict", saved, str(photos), "--batch-size", "1", "--outputs", "mask,confidence"]
    assert main([*command, "--out", str(whole)]) == 0
    assert main([*command, "--out", str(out)]) == 0
    # As a kill leaves it: one image done, the next half written, the file cut off in a record.
    lines = (out / "predictions.json").read_text().splitlines()
    (out / "predictions.json").write_text("\n".join([*lines[:2], lines[2][:50]]))
    for name in ("frame_2_mask.png", "frame_10_mask.png"):
        (out / "walk" / name).unlink()
    first = out / "walk" / "frame_1_mask.png"
    before = first.stat().st_mtime_ns
    assert main([*command, "--out", str(out)]) == 2 and "--resume" in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--resume"]) == 0
    assert "3 of 3 images segmented" in (said := capsys.readouterr().out) and "(1 by an earlier run)" in said
    assert first.stat().st_mtime_ns == before
    assert files_below(out) == files_below(whole)
    for name in files_below(whole) - {"predictions.json"}:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    for done, other in zip(report_of(out)["images"], report_of(whole)["images"], strict=True):
        assert {**done, "seconds": 0} == {**other, "seconds": 0}
    assert main([*command, "--out", str(out), "--resume", "--flip"]) == 2
    assert "its flip is false, now it is true" in capsys.readouterr().err
    (out / "predictions.json").write_text("mine")
    assert main([*command, "--out", str(out), "--resume"]) == 2
    assert "pass --overwrite" in capsys.readouterr().err


def test_the_file_is_whole_after_every_record(tmp_path):
    path = tmp_path / "predictions.json"
    result = Predictions("p", "w", "float32", Settings("hard"), "as given", {0: "a"}, {})
    journal = Journal(path, result)
    assert json.loads(path.read_text())["images"] == []
    for number in range(5):
        journal.add(Failure(f"bad{number}", "broken") if number % 2 else _record(f"caf\udce9 {number}"))
        content = json.loads(path.read_text())
        assert len(content["images"]) == number // 2 + 1 and len(content["failed"]) == (number + 1) // 2
    journal.close()
    images, videos = read_journal(path, result.head())
    assert images == result.images and not videos
    with pytest.raises(InputError, match='its decode is "hard", now it is "aux"'):
        read_journal(path, {**result.head(), "decode": "aux"})


def _record(image):
    return Prediction(image, (2, 3), {"mask": "x.png"}, 0.5, [], 0.1)


def test_names_keep_folders_and_are_distinct(tmp_path):
    for name in ("x/a.png", "x/a.jpg", "x/deep/b.png", "y/a.png", "y/img10.png", "y/img9.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    names = [item.name for item in find_inputs([str(tmp_path / "x"), str(tmp_path / "y")])]
    assert names == ["x/a_jpg", "x/a_png", "deep/b", "y/a", "img9", "img10"]
    assert [item.name for item in find_inputs([f"{tmp_path}/*/a.png"])] == ["x/a", "y/a"]
    assert [item.name for item in find_inputs([str(tmp_path / "x" / "a.png")])] == ["a"]


def test_a_video_keeps_its_times(saved, tmp_path, capsys):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    clip, times = tmp_path / "clip.mp4", [0.0, 0.1, 0.15, 0.4]  # a varying frame rate
    random = np.random.default_rng(0)
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (32, 48, 3), dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    out = tmp_path / "out"
    assert main(["predict", saved, str(clip), "--out", str(out), "--outputs", "mask,overlay"]) == 0
    assert "4 frames of 1 video segmented" in capsys.readouterr().out
    report = report_of(out)
    assert [record["time"] for record in report["images"]] == pytest.approx(times, abs=0.002)
    assert [record["files"] for record in report["images"]] == [
        {"mask": f"clip.mp4/{i:06d}_mask.png"} for i in range(4)
    ]
    assert report["videos"][0]["frames"] == 4 and report["videos"][0]["files"] == {"overlay": "clip_overlay.mp4"}
    with av.open(str(out / "clip_overlay.mp4")) as container:
        found = [float(frame.time) for frame in container.decode(container.streams.video[0])]
    assert found == pytest.approx(times, abs=0.002)

    # A video that is cut off: what is there is done, and one line says so.
    damaged = tmp_path / "cut.mp4"
    damaged.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert main(["predict", saved, str(damaged), "--out", str(tmp_path / "cut")]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: error")]
    assert len(errors) == 1 and "cut.mp4" in errors[0]
    assert "is it cut off? an mp4 has its index at the end" in errors[0]


@pytest.mark.parametrize("times", [range(0, 1500, 50), [*range(0, 1000, 50), 1600, 1650]])
@pytest.mark.parametrize("sound", [False, True])
def test_a_matroska_video_that_is_cut_off(tmp_path, times, sound):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    random = np.random.default_rng(0)
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (64, 96, 3), dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for index in range(60 if tone is not None else 0):  # longer than the pictures
            part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            part.sample_rate, part.pts = 16000, 1024 * index
            container.mux(tone.encode(part))
        if tone is not None:
            container.mux(tone.encode())
    assert len(list(read_video(whole))) == len(times)

    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    found = []
    with pytest.raises(InputError, match=r"cut.mkv is cut off after \d+ frames: it has .* of 1\.\d+ seconds"):
        for frame in read_video(cut):
            found.append(frame.index)
    assert found == list(range(len(found))) and len(times) // 3 < len(found) < len(times)


def test_where_drawn_masks_differ(photos, tmp_path, capsys):
    joint_pipeline().save_pretrained(tmp_path / "joint")
    out = tmp_path / "out"
    command = ["predict", str(tmp_path / "joint"), str(photos), "--samples", "3", "--outputs", "mask,scores,heat"]
    assert main([*command, "--out", str(out)]) == 0
    for record in report_of(out)["images"]:
        values = np.load(out / record["files"]["hypotheses"])
        assert values.shape == (20, 28) and values.min() >= 0 and values.max() <= 1
        assert record["scores"]["hypotheses"]["mean"] == pytest.approx(values.mean(), rel=1e-4)
    assert report_of(out)["samples"] == 3


def test_samples_need_a_joint_prior(saved, photos, tmp_path, capsys):
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "out"), "--samples", "3"]) == 2
    assert "needs a joint prior" in capsys.readouterr().err
