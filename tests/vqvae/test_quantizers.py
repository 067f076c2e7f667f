"""Every quantiser passes the checks of its family."""

import pytest
from quantizer_checks import QuantizerChecks

from vqvae import Quantizer, SettingError


class TestVQ(QuantizerChecks):
    kind, free = "vq", True


class TestCosineVQ(QuantizerChecks):
    kind, options = "vq", {"use_cosine_sim": True}


class TestProjectedVQ(QuantizerChecks):
    kind, options = "vq", {"codebook_dim": 4}


class TestFSQ(QuantizerChecks):
    kind = "fsq"


class TestLFQ(QuantizerChecks):
    kind = "lfq"


class TestSimVQ(QuantizerChecks):
    kind = "simvq"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pq", 64, 8), "quantizer_type='pq'"),
        (("fsq", 100, 8), "power of two"),
        (("fsq", 64, 8, {"levels": [5, 4]}), "make 20 codes"),
        (("vq", 1, 8), "codebook_size=1"),
        (("vq", 64, 8, {"no_such_option": 1}), "do not fit the quantiser 'vq'"),
    ],
)
def test_bad_settings(arguments, words):
    with pytest.raises(SettingError, match=words):
        Quantizer(*arguments)
