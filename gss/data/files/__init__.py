"""Files of a data set: the walker of folders, patterns, split lists, samples and panoptic annotations."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.data.files.arguments": [
            "Found",
            "distinct_names",
            "find_images",
            "find_inputs",
            "natural_key",
            "output_names",
        ],
        "gss.data.files.lists": ["ListEntry", "read_list", "resolve_list"],
        "gss.data.files.patterns": ["check_patterns", "find_files", "find_ids", "without_suffix"],
        "gss.data.files.samples": ["Sample", "pair_up"],
        "gss.data.files.walk": ["is_hidden", "walk"],
    },
)

if TYPE_CHECKING:
    from gss.data.files.arguments import Found as Found
    from gss.data.files.arguments import distinct_names as distinct_names
    from gss.data.files.arguments import find_images as find_images
    from gss.data.files.arguments import find_inputs as find_inputs
    from gss.data.files.arguments import natural_key as natural_key
    from gss.data.files.arguments import output_names as output_names
    from gss.data.files.lists import ListEntry as ListEntry
    from gss.data.files.lists import read_list as read_list
    from gss.data.files.lists import resolve_list as resolve_list
    from gss.data.files.patterns import check_patterns as check_patterns
    from gss.data.files.patterns import find_files as find_files
    from gss.data.files.patterns import find_ids as find_ids
    from gss.data.files.patterns import without_suffix as without_suffix
    from gss.data.files.samples import Sample as Sample
    from gss.data.files.samples import pair_up as pair_up
    from gss.data.files.walk import is_hidden as is_hidden
    from gss.data.files.walk import walk as walk
