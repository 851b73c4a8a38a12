"""An S3 server on loopback: a process of moto, which has the conditional puts of the real one."""

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

BUCKET = "bucket"
URI = f"s3://{BUCKET}/lake"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment variables by which a lake at `s3://bucket/...` finds the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        make_bucket(url, deadline=monotonic() + 120)
        yield {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.kill()
        server.wait()


def make_bucket(url: str, *, deadline: float) -> None:
    request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
    while True:
        try:
            urllib.request.urlopen(request, timeout=30).close()
            return
        except (urllib.error.URLError, OSError):
            assert monotonic() < deadline, "the S3 server does not answer"
            sleep(0.2)
