"""What a portal, a cache or a gateway without a server behind it says in the API server's place."""


def _answer(status: str, kind: str, body: bytes, missing: int = 0) -> bytes:
    """In HTTP/1.1; it promises `missing` bytes more than come."""
    length = len(body) + missing
    head = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {length}", "Connection: close", "", "")
    return "\r\n".join(head).encode() + body


BROKEN_ANSWERS = (
    _answer("200 OK", "text/html", b"<html><body>Please log in</body></html>"),
    _answer("200 OK", "application/json", b"[]"),
    _answer("200 OK", "application/json", b'{"kind": "MemoryPolicyList", "metadata": 7, "items": {"a": null}}'),
    _answer("200 OK", "application/json", b'{"kind": "MemoryPolicyList", "items": [', missing=1000),
    _answer("200 OK", "application/json", b'{"items": [{"metadata": {"name": 5}, "spec": "\xff"}]}'),
    _answer("502 Bad Gateway", "text/html", b"<html><body>upstream</body></html>"),
    b"\x00\x01 no HTTP at all",
)
"""None is an empty list, which nobody could tell from the truth."""
