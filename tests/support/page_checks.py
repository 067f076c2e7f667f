"""What every page of results has in common."""

import re


def check_answer(page: str) -> str:
    """Require that a page opens with one sentence and a picture or chart; return the sentence."""
    head = page.partition("</style>")[2].partition("<main>")[0]
    found = re.search(r'<p class="answer">(.*?)</p>', head, re.DOTALL)
    assert found, "the page does not open with an answer"
    assert found[1].strip().endswith(".")
    assert "data:image/" in head or "<svg" in head, "nothing proves the answer"
    return found[1]
