"""A pipeline as a repository on the hub."""

from __future__ import annotations

import tempfile
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from gss.core.errors import InputError


class HubMethods:
    """Uploading of `GSSPipeline`; loading by name and revision is its `from_pretrained`."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload the pipeline",
        create_pr: bool = False,
        **card: Any,
    ) -> str:
        """Upload the folder that `save_pretrained` writes, with its model card, and return the address of the commit.

        Args:
            repo_id: OWNER/NAME; created if missing.
            revision: branch; the main one if None.
            private: whether a new repository is private; the owner's default if None.
            token: token of the hub; the one that is logged in if None.
            commit_message: message of the commit.
            create_pr: open a pull request instead.
            **card: `metrics`, `training_data` and `licence` of `save_pretrained`.

        Raises:
            InputError: the hub refuses, or cannot be reached.
        """
        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **card)  # type: ignore[attr-defined]
            try:
                repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
                commit = api.upload_folder(
                    repo_id=repository,
                    folder_path=folder,
                    revision=revision,
                    commit_message=commit_message,
                    create_pr=create_pr,
                )
            except (HfHubHTTPError, OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:300]
                raise InputError(f"cannot upload to {repo_id!r} on the hub: {reason}") from error
        return str(commit.commit_url)
