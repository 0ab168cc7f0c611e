"""Upload an exported folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from nasbench.data.hub import hub_errors, quiet, reason
from nasbench.errors import UserError


def push(folder: Path, repository: str, private: bool) -> str:
    """Create a model repository if there is none, and commit all files of a folder to it.

    Args:
        repository: ``OWNER/NAME``, or ``NAME`` for the user who is logged in.
        private: whether a new repository is private; an existing one stays as it is.

    Returns:
        The address of the repository.

    Raises:
        UserError: one line, if the hub refuses or cannot be reached. The folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with quiet():
            created = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=created.repo_id, folder_path=folder, commit_message="Network pruned by nasbench")
    except hub_errors() as error:
        raise UserError(
            f"cannot upload {folder} to {repository} ({reason(error)}); log in with `hf auth login`, or set HF_TOKEN "
            "to a token that may write; the exported folder is complete"
        ) from error
    return str(created)
