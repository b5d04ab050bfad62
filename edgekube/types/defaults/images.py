"""What an image reference says about how to pull it."""


def pull_policy(reference: str) -> str:
    """`Always` for the tag `latest`, written or implied; `IfNotPresent` for any other tag, and for a digest alone."""
    name, at, _ = reference.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or (name and not tag and not at) else "IfNotPresent"
