"""A webhook that puts a container beside that of each new pod, as a service mesh does."""

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.backends.kubernetes.cluster import Cluster

HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@contextmanager
def injected(cluster: Cluster, namespace: str, container: Mapping[str, Any]) -> Iterator[None]:
    """Inside, each pod that is made in the namespace has this container before its own."""
    patch = base64.b64encode(json.dumps([{"op": "add", "path": "/spec/containers/0", "value": container}]).encode())

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch.decode()}
            body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": told}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    keys, tls = Path(cluster.folder, "keys"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(keys / "server.crt", keys / "server.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    name = f"{container['name']}.{namespace}.caravan.test"
    hook = {
        "name": name,
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_port}/",
            "caBundle": base64.b64encode(cluster.authority.read_bytes()).decode(),
        },
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    try:
        cluster.ask("POST", HOOKS, {"metadata": {"name": name}, "webhooks": [hook]})
        yield
    finally:
        cluster.ask("DELETE", f"{HOOKS}/{name}")
        server.shutdown()
        server.server_close()
