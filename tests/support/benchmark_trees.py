"""Shared by several tests; taken from data/outliers/test_benchmarks.py."""

LAF = "04_Maurener_Weg_8"


TREES = {  # split, images, masks and ids of one layout each
    "smiyc_anomaly21": (
        "val",
        ["images/validation0000.jpg"],
        ["labels_masks/validation0000_labels_semantic.png"],
        ["validation0000"],
    ),
    "smiyc_obstacle21": (
        "val",
        ["images/validation_1.webp"],
        ["labels_masks/validation_1_labels_semantic.png"],
        ["validation_1"],
    ),
    "road_anomaly": ("test", ["frames/cow.jpg"], ["frames/cow.labels/labels_semantic.png"], ["cow"]),
    "fishyscapes_lostandfound": (
        "val",
        [f"leftImg8bit/train/{LAF}/{LAF}_000000_000030_leftImg8bit.png"],
        [f"fishyscapes_lostandfound/0000_{LAF}_000000_000030_labels.png"],
        [f"0000_{LAF}_000000_000030"],
    ),
    "fishyscapes_static": (
        "v3",
        ["leftImg8bit/val/frankfurt/frankfurt_000001_046504_leftImg8bit.png"],
        ["fs_val_v3/0000_frankfurt_000001_046504_labels.png"],
        ["0000_frankfurt_000001_046504"],
    ),
    "lost_and_found": (
        "test",
        [f"leftImg8bit/test/{LAF}/{LAF}_000000_000030_leftImg8bit.png"],
        [f"gtCoarse/test/{LAF}/{LAF}_000000_000030_gtCoarse_labelIds.png"],
        [f"{LAF}/{LAF}_000000_000030"],
    ),
    "streethazards": (
        "test",
        ["images/test/t5/300.png", "images/test/t6/300.png"],
        ["annotations/test/t5/300.png", "annotations/test/t6/300.png"],
        ["t5/300", "t6/300"],
    ),
    "ade_ood": ("test", ["images/a.jpg"], ["annotations/a_mask.png"], ["a"]),
}
