"""A receiver of OTLP over HTTP on loopback, which reads what it is sent by OpenTelemetry's own library.

In: posts of logs and of traces, as JSON. Out: the messages; whoever sends a body that is none is answered 400.
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS = ("traceId", "spanId", "parentSpanId")
_MESSAGES: dict[str, Any] = {"/v1/logs": ExportLogsServiceRequest, "/v1/traces": ExportTraceServiceRequest}


def read(path: str, body: bytes) -> Any:
    """The message of a body. OTLP writes ids in hexadecimal, where the JSON of protobuf has base64; all else is alike.
    Raises `ValueError` and `json_format.ParseError`.
    """
    return json_format.ParseDict(_with_ids(json.loads(body)), _MESSAGES[path]())


def _with_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_ids(one) for one in value]
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(one)).decode() if key in _IDS else _with_ids(one)
            for key, one in value.items()
        }
    return value


class OtlpReceiver:
    """`answers`: the codes of the next posts; without any it is 200."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        self.posts = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts += 1
                code = receiver.answers.pop(0) if receiver.answers else 200
                if code == 200:
                    try:
                        receiver.messages.append(read(self.path, body))
                        receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                    except (ValueError, KeyError, json_format.ParseError):
                        code = 400
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
