"""kubeconfig files (client-go's clientcmd v1 Config) with everything inside, so that they can be copied elsewhere."""

from base64 import b64encode


def admin_kubeconfig(
    *, server: str, ca_certificate: bytes, client_certificate: bytes, client_key: bytes, cluster: str = "edgekube"
) -> str:
    """YAML for kubectl: `server` is the URL (https://HOST:6443), the rest PEM."""
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {_data(ca_certificate)}
users:
- name: {cluster}-admin
  user:
    client-certificate-data: {_data(client_certificate)}
    client-key-data: {_data(client_key)}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {cluster}-admin
current-context: {cluster}
"""


def _data(pem: bytes) -> str:
    return b64encode(pem).decode()
