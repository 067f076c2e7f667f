"""`transformers.pipeline("image-segmentation")` with a pipeline of gss as its model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from dataclasses import field
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor
from torch.utils.data import Dataset
from transformers import AutoImageProcessor, PreTrainedConfig
from transformers.pipelines.base import Pipeline
from transformers.pipelines.image_segmentation import ImageSegmentationPipeline

from gss.core.errors import InputError, quoted, unknown_name
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import list_images, load_images

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
# Arguments of a call that reach `GSSPipeline.__call__`.
_OPTIONS = ("decode", "exact", "flip", "max_pixels", "overlap", "scales", "size", "window", "window_size")
# Thresholds of instance and panoptic models, which semantic models of transformers take as well and do not use.
_UNUSED = ("mask_threshold", "overlap_mask_area_threshold", "threshold")


@strict
class GSSSegmentationConfig(PreTrainedConfig):
    """What transformers asks of a model before it loads it.

    Attributes:
        folder: folder of the pipeline, or name of its repository.
    """

    model_type = "gss_pipeline"

    folder: str = ""
    architectures: list[str] | None = field(default_factory=lambda: ["GSSSegmentationModel"])


class GSSSegmentationModel:
    """A pipeline of gss where transformers expects a model.

    Args:
        pipeline: pipeline.
        config: its configuration.
    """

    config_class = GSSSegmentationConfig
    input_modalities = ("image",)

    def __init__(self, pipeline: GSSPipeline, config: GSSSegmentationConfig) -> None:
        self.pipeline, self.config, self.name_or_path = pipeline, config, config.folder
        config.id2label = pipeline.id2label
        config.label2id = {name: index for index, name in pipeline.id2label.items()}

    @classmethod
    def from_pretrained(cls, name: str, *, config: GSSSegmentationConfig, dtype: Any = None, **options: Any) -> Any:
        """Load a pipeline.

        Args:
            name: as given to transformers; the config holds the folder that it means.
            config: its configuration.
            dtype: precision of the prior; float32 if None or "auto".
            **options: options of the hub's client; others are left out.

        Raises:
            InputError: see `GSSPipeline.from_pretrained`.
        """
        hub = {key: value for key, value in options.items() if key in HUB_OPTIONS and value is not None}
        return cls(GSSPipeline.from_pretrained(config.folder or name, dtype=dtype, **hub), config)

    def save_pretrained(self, save_directory: str, **options: Any) -> None:
        """Save the pipeline."""
        self.pipeline.save_pretrained(save_directory, **options)

    def to(self, *args: Any, **kwargs: Any) -> GSSSegmentationModel:
        """Move the pipeline."""
        self.pipeline.to(*args, **kwargs)
        return self

    def eval(self) -> GSSSegmentationModel:
        """Return the model: a pipeline always predicts in evaluation mode."""
        return self

    def can_generate(self) -> bool:
        """Return that there is no text to generate."""
        return False

    @property
    def device(self) -> torch.device:
        """Device of the prior."""
        return self.pipeline.prior.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the prior."""
        return self.pipeline.dtype


class GSSSegmentationPipeline(ImageSegmentationPipeline):
    """Image segmentation of transformers: images in, `{"score", "label", "mask"}` for each class of an image out.

    Of models that are no pipeline of gss it makes the pipeline that transformers makes.
    """

    # A pipeline of gss has its image processor inside. Other models must have one, see `__new__`.
    _load_image_processor = None  # type: ignore[assignment]

    def __new__(cls, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a pipeline for a model of gss, and transformers' own for any other."""
        if isinstance(model, GSSSegmentationModel):
            return super().__new__(cls)
        if kwargs.get("image_processor") is None and kwargs.get("feature_extractor") is None:
            kwargs["image_processor"] = AutoImageProcessor.from_pretrained(model.name_or_path)
        return ImageSegmentationPipeline(model, *args, **kwargs)

    def __init__(self, model: GSSSegmentationModel, *args: Any, **kwargs: Any) -> None:
        # Not that of the parent, which knows the classes of transformers only.
        options = {name: value for name, value in kwargs.items() if name not in HUB_OPTIONS}
        Pipeline.__init__(self, model, *args, **options)  # type: ignore[arg-type]

    def __call__(self, inputs: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Segment images.

        Args:
            inputs: see `gss.pipeline.processor.load_images`.
            **kwargs: `batch_size`, `timeout`, and options of `GSSPipeline.__call__` such as `decode` and `size`.

        Returns:
            A list of segments for one image, a list of such lists for a list, and an iterator over such lists for a
            generator or a data set. A segment has the label of a class that occurs, its mask as a picture of 0 and 255,
            and as score its mean probability.

        Raises:
            InputError: bad image or option.
        """
        inputs = kwargs.pop("images", inputs)
        if isinstance(inputs, tuple):
            inputs = list(inputs)
        if inputs is None or (isinstance(inputs, list) and not inputs):
            raise InputError("images is an empty list; pass at least one image")
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        subtask = kwargs.pop("subtask", None)
        if subtask not in (None, "semantic"):
            raise InputError(f"subtask is {quoted(subtask)}; this pipeline does 'semantic' segmentation")
        reading = {"timeout": kwargs.pop("timeout")} if kwargs.get("timeout") is not None else {}
        options = {name: value for name, value in kwargs.items() if name not in (*_UNUSED, "timeout")}
        for name in options:
            if name not in _OPTIONS:
                raise unknown_name("option", name, (*_OPTIONS, "batch_size", "timeout"))
        return reading, options, {}

    def preprocess(self, image: Any, timeout: float = 30.0) -> dict[str, Tensor]:  # type: ignore[override]
        """Return an image as float32 `[3, H, W]` in [0, 1]."""
        return {"image": load_images([image], timeout=timeout)[0]}

    def _forward(self, model_inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Return the segments of one image, or of the images of a list, at once."""
        output = self.model.pipeline(model_inputs["image"], return_tokens=False, **options)
        return {"segments": self.model.pipeline.segments(output)}

    def postprocess(self, model_outputs: dict[str, Any]) -> list[dict[str, Any]]:  # type: ignore[override]
        """Return the segments of an image."""
        return model_outputs["segments"][0]

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[list[dict[str, Any]]]:
        """Return an iterator over the segments of images, `batch_size` of which are run at a time."""

        def run() -> Iterator[list[dict[str, Any]]]:
            images = iter(list_images(inputs) if isinstance(inputs, Dataset) and not _iterable(inputs) else inputs)
            while batch := list(itertools.islice(images, batch_size)):
                loaded = [self.preprocess(image, **preprocess_params)["image"] for image in batch]
                yield from self.forward({"image": loaded}, batch_size=batch_size, **forward_params)["segments"]

        return _Results(run(), len(inputs) if isinstance(inputs, Sized) else None)


class _Results(Iterator[list[dict[str, Any]]]):
    """Results as they are made, with their number where it is known, for progress bars."""

    def __init__(self, results: Iterator[list[dict[str, Any]]], count: int | None) -> None:
        self._results, self._count = results, count

    def __next__(self) -> list[dict[str, Any]]:
        """Return the result of the next image."""
        return next(self._results)

    def __len__(self) -> int:
        """Return the number of images."""
        if self._count is None:
            raise TypeError("the number of images is not known")
        return self._count


def _iterable(inputs: Any) -> bool:
    return isinstance(inputs, Iterable)
