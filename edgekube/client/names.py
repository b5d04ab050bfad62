"""Names of objects in messages and keys."""

from edgekube.client.api import Key, KubeObject


def key_of(obj: KubeObject) -> Key:
    return (obj.metadata.namespace, obj.metadata.name)


def pretty(key: Key) -> str:
    """`namespace/name`, or the bare name of a cluster-scoped object, as kubectl's messages have it."""
    return f"{key[0]}/{key[1]}" if key[0] else key[1]
