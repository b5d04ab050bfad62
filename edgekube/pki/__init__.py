"""Keys, certificates and token signatures. A mechanism: it knows names and dates, no Kubernetes objects.

`helper` is the only module that imports cryptography, and runs in a short-lived process of its own (resident it costs
9 MiB); the node asks it through `authority`. `sign` signs and verifies with the libcrypto that `ssl` has loaded
anyway. Imports the standard library, trio and msgspec; `helper` also cryptography.
"""
