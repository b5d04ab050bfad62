"""HTTP/1.1 on trio: server, client, WebSocket and SPDY/3.1 framing. A mechanism: it knows no Kubernetes.

What parses bytes is sans-IO (`parser`, `websocket`, `spdy`): bytes in, events out, and one exception type each may
escape, whatever the peer sends. What touches sockets is apart (`server`, `client`).
Imports the standard library, trio, httptools and wsproto only.
"""
