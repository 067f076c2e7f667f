"""`gss predict --engine ray`: with a stand-in for the cluster, and on a local one with an actor killed on purpose."""

import json
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from inline_ray import inline_cluster
from ray_toys import photo_folder, png, results, tar_bytes
from tiny_pipeline import tiny_pipeline

from gss.cli import main
from gss.integrations.ray import run as run_module
from gss.integrations.ray.worker import Worker


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(run_module, "cluster", inline_cluster)
    monkeypatch.setattr("gss.integrations.ray.cluster.load_ray", lambda: None)


@pytest.fixture
def memory():
    files = MemoryFileSystem()
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def _predict(saved, source, out, *options):
    return main(["predict", saved, "--engine", "ray", "--source", str(source), "--out", str(out), *options])


def test_the_result_is_that_of_one_process(saved, tmp_path, inline, capsys):
    photos = photo_folder(tmp_path / "photos")
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "one"), "--scores", "entropy"]) == 1
    assert _predict(saved, photos, tmp_path / "two", "--scores", "entropy", "--batch-size", "2") == 1
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert one[0] == two[0] and one[1] == two[1] and len(one[0]) == 7 * 6
    assert "7 of 8 images segmented into" in capsys.readouterr().out
    assert not (tmp_path / "two" / ".predictions").exists()


def test_memory_in_and_out(saved, inline, memory, capsys):
    memory.pipe({f"/photos/{number}.png": png(number) for number in range(3)})
    assert _predict(saved, "memory://photos", "memory://out") == 0
    report = json.loads(memory.cat_file("/out/predictions.json"))
    assert [record["image"] for record in report["images"]] == [f"memory://photos/{n}.png" for n in range(3)]
    assert memory.exists("/out/2_mask.png")
    assert _predict(saved, "memory://photos", "memory://out") == 2
    assert "output memory://out already holds" in capsys.readouterr().err
    memory.rm("/out/1_mask.png")
    assert _predict(saved, "memory://photos", "memory://out", "--resume") == 0
    assert "(2 by an earlier run)" in capsys.readouterr().out


def test_zip_in_and_out(saved, inline, tmp_path, capsys):
    photos = photo_folder(tmp_path / "photos")
    shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    assert _predict(saved, f"zip://::{tmp_path}/photos.zip", f"zip://::{tmp_path}/out.zip", "--outputs", "mask") == 1
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "one"), "--outputs", "mask"]) == 1
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "two")
    assert results(tmp_path / "one")[0] == results(tmp_path / "two")[0]
    assert _predict(saved, photos, f"zip://::{tmp_path}/out.zip") == 2
    assert "out.zip exists: pass --overwrite" in capsys.readouterr().err


def test_a_cut_shard_is_reported_and_what_is_before_the_cut_is_done(saved, inline, tmp_path, capsys):
    images = [(f"{number:02d}.png", png(number)) for number in range(6)]
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "a-000.tar").write_bytes(tar_bytes(images[:3]))
    whole = tar_bytes([("bad.png", b"none"), *images[3:]])
    (shards / "a-001.tar").write_bytes(whole[: len(whole) - 10240 - 512])
    assert _predict(saved, shards, tmp_path / "out") == 1
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    done = [record["files"]["mask"] for record in report["images"]]
    assert done[:3] == [f"a-000/{number:02d}_mask.png" for number in range(3)] and 3 <= len(done) < 6
    assert all((tmp_path / "out" / file).is_file() for file in done)
    errors = {failure["image"]: failure["error"] for failure in report["failed"]}
    assert "is damaged or cut off after" in errors[f"{shards}/a-001.tar"]
    assert "damaged or not an image" in errors[f"tar://bad.png::{shards}/a-001.tar"]
    # The shard is mended: the rest is done, and the order is that of one run.
    (shards / "a-001.tar").write_bytes(tar_bytes(images[3:]))
    capsys.readouterr()
    assert _predict(saved, shards, tmp_path / "out", "--resume") == 0
    assert f"({len(done)} by an earlier run)" in capsys.readouterr().out
    assert _predict(saved, shards, tmp_path / "whole") == 0
    resumed, whole_run = results(tmp_path / "out"), results(tmp_path / "whole")
    assert resumed[0] == whole_run[0]
    assert [record["image"] for record in resumed[1]["images"]] == [
        record["image"] for record in whole_run[1]["images"]
    ]


class Stopped(Exception):
    """Ends a run as a kill would."""


def test_a_killed_run_goes_on_from_the_records_of_its_batches(saved, inline, tmp_path, monkeypatch, capsys):
    photos = photo_folder(tmp_path / "photos", count=8)
    (photos / "part0" / "broken.jpg").unlink()
    finish = run_module.Sink.finish
    seen = []

    def dying(sink, row):
        seen.append(row)
        if len(seen) == 5:
            raise Stopped
        return written(sink, row)

    written = run_module._written
    monkeypatch.setattr(run_module, "_written", dying)
    monkeypatch.setattr(run_module.Sink, "finish", lambda sink, result: None)
    assert _predict(saved, photos, tmp_path / "out", "--batch-size", "2") == 70
    monkeypatch.setattr(run_module, "_written", written)
    monkeypatch.setattr(run_module.Sink, "finish", finish)
    capsys.readouterr()
    assert _predict(saved, photos, tmp_path / "out", "--batch-size", "2", "--resume", "--decode", "hard") == 2
    assert "its decode is" in capsys.readouterr().err
    assert _predict(saved, photos, tmp_path / "out", "--batch-size", "2", "--resume") == 0
    assert "(6 by an earlier run)" in capsys.readouterr().out
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "one")]) == 0
    assert results(tmp_path / "out") == results(tmp_path / "one")


def test_an_image_that_has_changed_is_done_again(saved, inline, tmp_path, capsys):
    photos = photo_folder(tmp_path / "photos", count=3)
    (photos / "part0" / "broken.jpg").unlink()
    assert _predict(saved, photos, tmp_path / "out", "--outputs", "mask") == 0
    image, mask = photos / "part1" / "img_1.png", tmp_path / "out" / "part1" / "img_1_mask.png"
    before = mask.read_bytes()
    image.write_bytes(png(99))
    os.utime(image, (mask.stat().st_mtime + 5,) * 2)
    capsys.readouterr()
    assert _predict(saved, photos, tmp_path / "out", "--outputs", "mask", "--resume") == 0
    assert "(2 by an earlier run)" in capsys.readouterr().out and mask.read_bytes() != before


def test_a_cluster_that_is_not_there(saved, tmp_path, capsys):
    pytest.importorskip("ray", reason="needs Ray: pip install 'gss[ray]'")
    photos = photo_folder(tmp_path / "photos", count=1)
    assert _predict(saved, photos, tmp_path / "out", "--address", "127.0.0.1:1") == 2
    assert "no cluster of Ray at 127.0.0.1:1: Connection refused" in capsys.readouterr().err
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_a_stopped_run_leaves_what_actors_have_done(saved, inline, tmp_path, monkeypatch):
    photos = photo_folder(tmp_path / "photos", count=8)
    written, seen = run_module._written, []

    def stop(sink, row):
        seen.append(row)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return written(sink, row)

    monkeypatch.setattr(run_module, "_written", stop)
    assert _predict(saved, photos, tmp_path / "out", "--batch-size", "2") == 130
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    # The broken one is the first of all; three rows came back, and the batch of the fourth was written.
    assert len(report["images"]) == 3 and not (tmp_path / "out" / ".predictions").exists()
    assert all((tmp_path / "out" / record["files"]["mask"]).is_file() for record in report["images"])


def test_a_worker_reads_the_records_of_a_batch_that_it_had_done(saved, inline, tmp_path, monkeypatch):
    calls = []
    segment = run_module.Worker._done

    def twice(worker, images):
        first = segment(worker, images)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker.segmenter, "segment", calls.append)
            assert [row.record for row in segment(worker, images)] == [row.record for row in first]
        return first

    monkeypatch.setattr(Worker, "_done", twice)
    photos = photo_folder(tmp_path / "photos", count=2)
    assert _predict(saved, photos, tmp_path / "out", "--batch-size", "8") == 1
    assert calls == []


def test_mistakes(saved, tmp_path, inline, capsys):
    photos = photo_folder(tmp_path / "photos")

    def error(*arguments):
        assert main(["predict", saved, "--out", str(tmp_path / "out"), *arguments]) == 2
        return capsys.readouterr().err

    ray = ["--engine", "ray"]
    assert "needs --source URL" in error(*ray)
    assert "takes its images from --source URL" in error(*ray, str(photos), "--source", str(photos))
    assert "--source is about --engine ray" in error("--source", str(photos))
    assert "no image is named" in error()
    assert "--backend torch only" in error(*ray, "--source", str(photos), "--backend", "onnx")
    assert "too few for 9 actors" in error(*ray, "--source", str(photos), "--actors", "9")
    assert "check the URL" in error(*ray, "--source", str(tmp_path / "none"))


def test_ray_is_an_extra(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert _predict(saved, tmp_path, tmp_path / "out") == 2
    assert capsys.readouterr().err.count("\n") <= 2


class ReadOnlyFileSystem(MemoryFileSystem):
    """A bucket that may be read only."""

    protocol = "readonly"

    def pipe_file(self, path, value, **options):
        raise PermissionError("AccessDenied")

    def makedirs(self, path, exist_ok=False):
        raise PermissionError("AccessDenied")


def test_a_bucket_that_may_not_be_written(saved, tmp_path, inline, capsys):
    fsspec.register_implementation("readonly", ReadOnlyFileSystem, clobber=True)
    assert _predict(saved, photo_folder(tmp_path / "photos"), "readonly://bucket/out") == 2
    assert "no permission to write output readonly://bucket/out: AccessDenied" in capsys.readouterr().err


class Dying(Worker):
    """A worker that is killed in the middle of its share, once."""

    def _done(self, images):
        rows = super()._done(images)
        marker = Path(os.environ["GSS_TEST_MARKER"])
        if any("img_7" in image.id for image in images) and not marker.exists():
            marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return rows


@pytest.mark.slow  # a cluster takes half a minute to start
def test_two_actors_one_of_them_killed(saved, tmp_path, monkeypatch, capsys):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'gss[ray]'")
    photos = photo_folder(tmp_path / "photos", count=12)
    marker = tmp_path / "killed"
    monkeypatch.setenv("GSS_TEST_MARKER", str(marker))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(run_module, "Worker", Dying)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    try:
        assert _predict(saved, photos, tmp_path / "two", "--batch-size", "2") == 1
        # The same through `SegmentBatch` and Ray Data alone.
        from gss.integrations.ray import SegmentBatch

        rows = ray.data.read_binary_files(str(photos / "part1"), include_paths=True).map_batches(
            SegmentBatch,
            fn_constructor_args=(saved,),
            batch_size=4,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        masks = {Path(row["id"]).stem: row["mask"] for row in rows.iter_rows()}
    finally:
        ray.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert marker.is_file()  # one was killed
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "one")]) == 1
    assert results(tmp_path / "two") == results(tmp_path / "one")
    for name, mask in masks.items():
        assert (tmp_path / "one" / "part1" / f"{name}_mask.png").read_bytes() == mask
    assert len(masks) == 6
