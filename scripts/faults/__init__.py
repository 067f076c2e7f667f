"""Parts of `scripts/fault_campaign.py`; the tests use them too."""
