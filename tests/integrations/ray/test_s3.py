"""`gss predict --engine ray` on a local S3 server, through s3fs."""

import json
import urllib.request

import pytest
from inline_ray import inline_cluster
from ray_toys import photo_folder, png, results, tar_bytes
from tiny_pipeline import tiny_pipeline

from gss.cli import main
from gss.integrations.ray import run as run_module

s3fs = pytest.importorskip("s3fs", reason="needs pip install s3fs")
moto_server = pytest.importorskip("moto.server", reason="needs pip install 'moto[server]'")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def bucket(monkeypatch):
    """A bucket `bucket` on a server of this machine, as an s3fs file system."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run_module, "cluster", inline_cluster)
    monkeypatch.setattr("gss.integrations.ray.cluster.load_ray", lambda: None)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("bucket")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST"))
    server.stop()


def _predict(saved, source, out, *options):
    return main(["predict", saved, "--engine", "ray", "--source", str(source), "--out", str(out), *options])


def test_folders_and_shards_in_a_bucket_are_those_of_one_process(saved, tmp_path, bucket, capsys):
    photos = photo_folder(tmp_path / "photos")
    bucket.put(f"{photos}/", "bucket/photos/", recursive=True)
    assert _predict(saved, "s3://bucket/photos", "s3://bucket/masks", "--scores", "entropy") == 1
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "one"), "--scores", "entropy"]) == 1
    bucket.get("bucket/masks/", f"{tmp_path / 'two'}/", recursive=True)
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert one[0] == two[0]
    assert [each["classes"] for each in one[1]["images"]] == [each["classes"] for each in two[1]["images"]]
    capsys.readouterr()

    # A result that is gone is made again, and nothing else.
    bucket.rm("bucket/masks/part1/img_1_mask.png")
    assert _predict(saved, "s3://bucket/photos", "s3://bucket/masks", "--scores", "entropy", "--resume") == 1
    assert "(6 by an earlier run)" in capsys.readouterr().out

    # Shards, one of them cut in the middle.
    whole = tar_bytes([(f"{number}.png", png(number)) for number in range(3)])
    bucket.pipe({"bucket/shards/0.tar": whole, "bucket/shards/1.tar": whole[: len(whole) - 10240 - 512]})
    assert _predict(saved, "s3://bucket/shards/{0..1}.tar", "s3://bucket/parts", "--outputs", "mask") == 1
    report = json.loads(bucket.cat_file("bucket/parts/predictions.json"))
    assert [each["files"]["mask"] for each in report["images"]][:3] == [f"0/{number}_mask.png" for number in range(3)]
    assert "is damaged or cut off after" in report["failed"][-1]["error"]


def test_what_is_not_there_or_not_allowed_is_one_line(saved, tmp_path, bucket, capsys):
    from moto.core import set_initial_no_auth_action_count

    photos = photo_folder(tmp_path / "photos", 1)
    bucket.put(f"{photos}/", "bucket/photos/", recursive=True)
    capsys.readouterr()

    def error(*arguments):
        assert _predict(saved, *arguments) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "starting" not in line]
        assert len(lines) == 1, lines
        return lines[0]

    assert "source s3://bucket/none: it is not there" in error("s3://bucket/none", "s3://bucket/out")
    assert "source s3://nobody/photos: it is not there" in error("s3://nobody/photos", "s3://bucket/out")
    assert "there is no bucket 'nobody'" in error("s3://bucket/photos", "s3://nobody/out")
    assert not bucket.exists("nobody")

    @set_initial_no_auth_action_count(0)
    def refused(*arguments):
        s3fs.S3FileSystem.clear_instance_cache()
        return error(*arguments)

    assert "no permission to read source s3://bucket/photos" in refused("s3://bucket/photos", tmp_path / "out")
    assert "no permission to write output s3://bucket/out" in refused(photos, "s3://bucket/out")
