"""Drawing, completing and generating masks of files, with pictures and one JSON file about all of them."""
