"""The default ServiceAccount and the cluster CA in every namespace (root-ca-cert-publisher and its sibling)."""

from collections.abc import Sequence

from edgekube.client.api import Change, Key
from edgekube.controllers.framework import Context, Watch
from edgekube.types.core_v1 import ConfigMap, Namespace, ServiceAccount
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError

DEFAULT_ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
ROOT_CA_KEY = "ca.crt"
DESCRIPTION = "kubernetes.io/description"
DESCRIPTION_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class ServiceAccountController:
    """Keyed by namespace."""

    name = "serviceaccount-controller"

    def __init__(self, context: Context, ca_bundle: str) -> None:
        self._context = context
        self._ca_bundle = ca_bundle
        self._namespaces = context.informer(Namespace)
        self._accounts = context.informer(ServiceAccount)
        self._config_maps = context.informer(ConfigMap)

    def watches(self) -> Sequence[Watch]:
        return (
            Watch(Namespace, lambda change: (("", change.obj.metadata.name),)),
            Watch(ServiceAccount, lambda change: self._when(change, DEFAULT_ACCOUNT)),
            Watch(ConfigMap, lambda change: self._when(change, ROOT_CA)),
        )

    def _when(self, change: Change[ServiceAccount] | Change[ConfigMap], name: str) -> tuple[Key, ...]:
        meta = change.obj.metadata
        return (("", meta.namespace),) if meta.name == name else ()

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get("", key[1])
        if namespace is None or namespace.metadata.deletionTimestamp:
            return None
        try:
            await self._ensure(key[1])
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "NotFound"):
                raise
        return None

    async def _ensure(self, namespace: str) -> None:
        client = self._context.client
        if self._accounts.get(namespace, DEFAULT_ACCOUNT) is None:
            meta = ObjectMeta(name=DEFAULT_ACCOUNT, namespace=namespace)
            await client.create(ServiceAccount(apiVersion="v1", kind="ServiceAccount", metadata=meta))
        data = {ROOT_CA_KEY: self._ca_bundle}
        current = self._config_maps.get(namespace, ROOT_CA)
        if current is None:
            meta = ObjectMeta(name=ROOT_CA, namespace=namespace, annotations={DESCRIPTION: DESCRIPTION_TEXT})
            await client.create(ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=meta, data=data))
        elif current.data != data:
            await client.patch(ConfigMap, ROOT_CA, namespace, patch={"data": {**dict.fromkeys(current.data), **data}})
