"""Shared by several tests; taken from data/specs/test_mixture.py."""

import json

# split, image, mask, id, other files, raw values of the mask, and the class they mean (None: void)
TREES = {
    "bdd100k": (
        *("train", "images/10k/train/0a-7c.jpg", "labels/sem_seg/masks/train/0a-7c.png", "0a-7c"),
        *({}, [0, 18, 255], ["road", "bicycle", None]),
    ),
    "bdd100k_seg": (
        *("val", "seg/images/val/0a-7c.jpg", "seg/labels/val/0a-7c_train_id.png", "0a-7c"),
        *({}, [0, 18, 255], ["road", "bicycle", None]),
    ),
    "kitti": (
        *("train", "training/image_2/000000_10.png", "training/semantic/000000_10.png", "000000_10"),
        *({}, [7, 33, 0, 29], ["road", "bicycle", None, None]),
    ),
    "wilddash": (
        *("val", "wd_val_01/au0000_100000.png", "wd_val_01/au0000_100000_labelIds.png", "au0000"),
        *({}, [7, 26, 4], ["road", "car", None]),
    ),
    "acdc": (
        "train",
        "rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "gt/fog/train/GOPR0475/GOPR0475_frame_000041_gt_labelTrainIds.png",
        "fog/GOPR0475/GOPR0475_frame_000041",
        {},
        [0, 18, 255],
        ["road", "bicycle", None],
    ),
    "idd": (
        "train",
        "leftImg8bit/train/0/024541_leftImg8bit.png",
        "gtFine/train/0/024541_gtFine_labellevel3Ids.png",
        "0/024541",
        {},
        [0, 8, 25, 255],
        ["road", "autorickshaw", "sky + fallback background", None],
    ),
    "idd_ids": (
        "val",
        "leftImg8bit/val/3/9_leftImg8bit.jpg",
        "gtFine/val/3/9_gtFine_labelids.png",
        "3/9",
        {},
        [0, 11, 34, 36, 255],
        ["road", "autorickshaw", "fallback background", None, None],
    ),
    "mapillary": (
        *("val", "validation/images/--1G_lk.jpg", "validation/labels/--1G_lk.png", "--1G_lk"),
        *({}, [0, 27, 64, 65], ["Bird", "Sky", "Ego Vehicle", None]),
    ),
    "sunrgbd": (
        *("test", "image/test/img-000001.jpg", "label37/test/00000001.png", "000001"),
        *({}, [0, 1, 24, 37], [None, "wall", "refridgerator", "bag"]),
    ),
    "scannet": (
        "val",
        "scannet_frames_25k/scene0011_00/color/000100.jpg",
        "scannet_frames_25k/scene0011_00/label/000100.png",
        "scene0011_00/000100",
        {"scannetv2_val.txt": "scene0011_00\n"},
        [0, 1, 14, 16, 36, 39, 40],
        [None, "wall", "desk", "curtain", "bathtub", "otherfurniture", None],
    ),
    "pascal_context": (
        "val",
        "JPEGImages/2008_000002.jpg",
        "SegmentationClassContext/2008_000002.png",
        "2008_000002",
        {"ImageSets/SegmentationContext/val.txt": "2008_000002\n"},
        [0, 1, 2, 59],
        ["background", "aeroplane", "bag", "wood"],
    ),
    "pascal_context59": (
        "train",
        "JPEGImages/2008_000002.jpg",
        "SegmentationClassContext/2008_000002.png",
        "2008_000002",
        {"ImageSets/SegmentationContext/train.txt": "2008_000002\n"},
        [0, 1, 2, 59],
        [None, "aeroplane", "bag", "wood"],
    ),
    "coco_panoptic": (
        "val",
        "images/val2017/000000000139.jpg",
        "annotations/panoptic_val2017/000000000139.png",
        "000000000139",
        {
            "annotations/panoptic_val2017.json": json.dumps(
                {
                    "images": [{"id": 139, "file_name": "000000000139.jpg"}],
                    "annotations": [
                        {
                            "image_id": 139,
                            "file_name": "000000000139.png",
                            "segments_info": [
                                {"id": 70_000, "category_id": 200, "iscrowd": 0, "area": 2},
                                {"id": 258, "category_id": 1, "iscrowd": 0, "area": 2},
                                {"id": 3, "category_id": 1, "iscrowd": 0, "area": 2},
                            ],
                        }
                    ],
                    "categories": [{"id": 1, "name": "person"}, {"id": 200, "name": "rug-merged"}],
                }
            )
        },
        [[0, 0, 0], [2, 1, 0], [3, 0, 0], [112, 17, 1]],
        [None, "person", "person", "rug-merged"],
    ),
    "labelmefacade": (
        "test",
        "images/05june05__p1.jpg",
        "labels/05june05__p1.png",
        "05june05__p1",
        {"train.txt": "images/other.jpg\n", "test.txt": "images/05june05__p1.jpg\n"},
        [[0, 0, 0], [128, 0, 0], [128, 64, 0], [0, 0, 128]],
        [None, "building", "road", "window"],
    ),
}
