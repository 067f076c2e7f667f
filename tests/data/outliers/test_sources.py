import pytest
from object_toys import GREEN, RED, folder
from PIL import Image

from gss.cli import main
from gss.config.residual import ResidualConfig
from gss.core.errors import InputError
from gss.data.outliers.sources import open_sources


def test_preview_from_the_command_line(tmp_path, capsys):
    root = folder(tmp_path / "objects", {"a": RED, "b": GREEN, "c": RED, "d": GREEN, "e": RED})
    sheet = tmp_path / "sheet.png"
    command = ["data", "mix", "scenes", "--objects", str(root), "--preview", str(sheet), "outliers.feather=2"]
    assert main([*command, "--context", str(root / "images"), "context.split=all", "data.crop=[48,64]"]) == 0
    said = capsys.readouterr().out
    assert "4 objects to train on, 1 held out" in said and "thing b 1" in said and "5 foreign scenes" in said
    with Image.open(sheet) as picture:
        assert picture.width > 4 * 320
    empty = tmp_path / "empty"
    empty.mkdir()
    for change, reason in (
        (["--objects", str(empty)], "no images with labels found"),
        (["outliers.val_split=train"], "are trained and validated on, such as a"),
        (["outliers.colour=1"], "unknown key"),
    ):
        assert main([*command, *change]) == 2
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--preview", "sheet.gif"])
    assert "must end in .png" in capsys.readouterr().err


@pytest.mark.parametrize("spelling", ["objects/", "objects/../objects", "link"])
def test_objects_are_not_validated_on_under_another_spelling(tmp_path, spelling):
    folder(tmp_path / "objects", {id: (200, 0, 0) for id in "abcde"})
    (tmp_path / "link").symlink_to("objects")
    cfg = ResidualConfig()
    cfg.outliers.objects, cfg.outliers.split, cfg.outliers.min_pixels = str(tmp_path / "objects"), "all", 1
    cfg.outliers.val_objects, cfg.outliers.val_split = f"{tmp_path}/{spelling}", "all"
    with pytest.raises(InputError, match="5 objects are trained and validated on"):
        open_sources(cfg)
