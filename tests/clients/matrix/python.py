"""Python's clients, each as its users write it: `python.py NAME URL`."""

import asyncio
import os
import ssl
import sys
import threading
import time
import urllib.request
from urllib.parse import urlsplit

NAME, URL = sys.argv[1:]


def with_requests():
    import requests

    return requests.get(URL, timeout=20).text


def with_httpx():
    import httpx

    with httpx.Client(http2=True) as client:
        answer = client.get(URL)
        assert answer.http_version == "HTTP/2"
        return answer.text


def with_aiohttp():
    import aiohttp

    async def get():
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.get(URL) as answer:
                return await answer.text()

    return asyncio.run(get())


def with_aiohttp_websocket():
    import aiohttp

    async def echo():
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.ws_connect(URL.replace("https://", "wss://")) as socket:
                await socket.send_str("hello")
                return await socket.receive_str()

    return asyncio.run(echo())


def with_httplib2():
    import httplib2

    _answer, content = httplib2.Http(timeout=20).request(URL)
    return content.decode()


def with_urllib3():
    import urllib3

    proxy = urlsplit(os.environ["https_proxy"])
    headers = urllib3.make_headers(proxy_basic_auth=f"{proxy.username}:{proxy.password}")
    address = f"http://{proxy.hostname}:{proxy.port}"
    bundle = os.environ["SSL_CERT_FILE"]
    manager = urllib3.ProxyManager(address, proxy_headers=headers, ca_certs=bundle)
    return manager.request("GET", URL).data.decode()


def with_urllib():
    with urllib.request.urlopen(URL, timeout=20) as answer:
        return answer.read().decode()


def with_strict():
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    with urllib.request.urlopen(URL, timeout=20, context=context) as answer:
        return answer.read().decode()


def with_websockets():
    from websockets.sync.client import connect

    with connect(URL.replace("https://", "wss://")) as socket:
        socket.send("hello")
        return socket.recv()


def with_grpc():
    import grpc

    with grpc.secure_channel(urlsplit(URL).netloc, grpc.ssl_channel_credentials()) as channel:
        call = channel.unary_unary(
            "/echo.Echo/Say",
            request_serializer=str.encode,
            response_deserializer=bytes.decode,
        )
        return call("hello", timeout=20)


def grpc_stream(method, first):
    """What comes after the first message, while the caller says no more but hangs up neither."""
    import grpc

    ended = threading.Event()

    def messages():
        yield first
        ended.wait()

    with grpc.secure_channel(urlsplit(URL).netloc, grpc.ssl_channel_credentials()) as channel:
        call = channel.stream_stream(
            f"/echo.Echo/{method}",
            request_serializer=str.encode,
            response_deserializer=bytes.decode,
        )
        try:
            return [message for message in call(messages())]
        finally:
            ended.set()


def with_grpc_count():
    """A stream of as many seconds as the URL's query says."""
    numbers = grpc_stream("Count", urlsplit(URL).query)
    return f"{len(numbers)} messages, the last {numbers[-1]}"


def with_grpc_hush():
    """A stream on which nobody says anything; gives after how long it has ended, and how."""
    import grpc

    begun = time.monotonic()
    try:
        return grpc_stream("Hush", "nothing")
    except grpc.RpcError as ended:
        return f"{ended.code().name} after {time.monotonic() - begun:.1f} s"


print(globals()[f"with_{NAME.replace('-', '_')}"]())
