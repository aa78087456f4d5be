"""Publishing a finished bundle on the model hub, in one commit. Knows nothing of how bundles are made."""

from pathlib import Path

from export.errors import HubError, NoTokenError

_MESSAGE = "Bundle exported by disco"


def require_token() -> None:
    """Find out before minutes of work whether there is anything to log in with.

    Raises:
        NoTokenError: there is no token.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise NoTokenError("--push-to-hub needs a token that may write: set HF_TOKEN, or log in with `hf auth login`")


def push(bundle: Path, repository: str, *, private: bool) -> str:
    """Upload all files of `bundle` to the hub's model `repository`, made where it does not exist; returns its address.

    Raises:
        HubError: the hub refused or did not answer; `bundle` is as it was.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        made = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=bundle, commit_message=_MESSAGE)
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())
        raise HubError(
            f"{bundle} is complete, but pushing it to {repository} failed: {reason}; "
            f"try again with `hf upload {repository} {bundle}`"
        ) from error
    return str(made)
