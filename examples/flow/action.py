"""An action of a bundle, and the request that it makes of its inputs."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from values import PLACEHOLDER, Failure, fill_form, fill_url, refer, resolve, text, written

KIND = "ZIS::Action::Http"
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]
BODILESS = ["GET", "HEAD", "TRACE"]
FULL_NAME = re.compile(r"zis:([^:]+):action:([^:]+)")
NAME = re.compile(r"[A-Za-z0-9._-]+")
AUTHORITY = re.compile(r"[a-z0-9._-]+(:[0-9]+)?")
FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
# Where a request goes and how it is framed is for the runner to say, not for an action.
OURS = re.compile(
    r"(x-zis|proxy-).*|host|content-length|transfer-encoding|connection|keep-alive|te|upgrade"
    r"|trailer|expect",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Request:
    """What is to be sent, and with which connection."""

    connection: str
    integration: str | None
    method: str
    host: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes | None


def find(bundle: Any, wanted: str) -> tuple[str | None, dict[str, Any]]:
    """The integration that a full name holds, and the definition of an action.

    An action goes by its name, by its key, or by `zis:INTEGRATION:action:NAME`. Of two with one
    name the last counts.
    """
    full = FULL_NAME.fullmatch(wanted)
    integration, name = full.groups() if full else (None, wanted)
    resources = bundle.get("resources") if isinstance(bundle, dict) else None
    if not isinstance(resources, dict):
        raise Failure('The bundle has no "resources".')
    found, names = None, []
    for key, resource in resources.items():
        if not isinstance(resource, dict) or resource.get("type") != KIND:
            continue
        properties = resource.get("properties")
        if not isinstance(properties, dict) or not isinstance(properties.get("definition"), dict):
            raise Failure(f"The action {key} has no definition.")
        names.append(properties.get("name", key))
        if name in (key, properties.get("name")):
            found = properties["definition"]
    if found is None:
        raise Failure(f"The bundle has no action {name}; it has: {', '.join(map(text, names))}.")
    return integration, found


def prepare(
    definition: dict[str, Any], inputs: Any, integration: str | None, subdomain: str | None
) -> Request:
    """The request that an action makes of its inputs."""
    method = text(member(definition, "method", inputs) or "").upper()
    if method not in METHODS:
        raise Failure(f"The action's method must be one of {', '.join(METHODS)}.")
    connection = member(definition, "connectionName", inputs)
    if not isinstance(connection, str) or not connection:
        raise Failure(
            "The action names no connection, and nothing is sent without one: add connectionName."
        )
    if not all(NAME.fullmatch(name) for name in (connection, integration or connection)):
        raise Failure("What the action names can't be a connection or an integration.")
    host, target = address(definition, inputs, subdomain)
    for key, value in (
        *pairs(definition, "queryParams", inputs), *pairs(definition, "query", inputs)
    ):
        joint = "&" if "?" in target else "?"
        target += f"{joint}{quote(key, safe='')}={quote(value, safe='')}"
    fields = list(pairs(definition, "headers", inputs))
    for name, value in fields:
        check_field(name, value)
    given = {name.lower(): value for name, value in fields}
    body = payload(definition, inputs, given.get("content-type", "application/json"))
    if body is not None and method in BODILESS:
        raise Failure(f"The action has a requestBody, and a {method} has none.")
    if "accept" not in given:
        fields.append(("Accept", "application/json"))
    if body is not None and "content-type" not in given:
        fields.append(("Content-Type", "application/json"))
    return Request(connection, integration, method, host, target, fields, body)


def member(definition: dict[str, Any], name: str, inputs: Any) -> Any:
    """A member of the definition, resolved; None where there is none."""
    given = {key: definition[key] for key in (name, f"{name}.$") if key in definition}
    return resolve(given, inputs).get(name)


def pairs(definition: dict[str, Any], name: str, inputs: Any):
    """Names with values: an array of `{key, value}`, or an object."""
    given = member(definition, name, inputs)
    if isinstance(given, dict):
        given = [{"key": key, "value": value} for key, value in given.items()]
    for pair in given or []:
        if not isinstance(pair, dict) or "key" not in pair or "value" not in pair:
            raise Failure(f"In {name} each item must have a key and a value.")
        yield text(pair["key"]), text(pair["value"])


def check_field(name: str, value: str) -> None:
    if OURS.fullmatch(name):
        raise Failure(f"The action may not set the header {name}.")
    if not FIELD_NAME.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
        # The name may hold anything, line ends too, and the value a secret.
        raise Failure("A header of the action has a name or a value that HTTP does not allow.")


def address(
    definition: dict[str, Any], inputs: Any, subdomain: str | None
) -> tuple[str, str]:
    """The host, and what stands in the request line."""
    url, path = (url_member(definition, name, inputs) for name in ("url", "path"))
    if (url is None) == (path is None):
        raise Failure("The action must have either a url or a path.")
    if url is not None:
        return split(url)
    if not subdomain:
        raise Failure("The action has a path, which needs the account: add --subdomain.")
    account = f"{subdomain.lower()}.zendesk.com"
    # Anything else after the account's host could make another host of it: .evil.com, @evil.com.
    if path.startswith("/") and not path.startswith("//"):
        return split(f"https://{account}{path}")
    if path.lower().startswith("https://"):
        host, target = split(path)
        if host.removesuffix(":443") == account:
            return account, target
    raise Failure(f"The action's path must begin with one /, or be a URL of {account}.")


def url_member(definition: dict[str, Any], name: str, inputs: Any) -> str | None:
    plain, reference = definition.get(name), definition.get(f"{name}.$")
    if plain is not None and reference is not None:
        raise Failure(f"{name} is given twice, with .$ and without.")
    if plain is None and reference is None:
        return None
    if reference is not None:
        url = refer(reference, inputs, fill_url)
        # What a reference path leads to is a whole URL: its own characters mean what they say.
        url = fill_url("{{$}}", url) if isinstance(url, str) else url
    else:
        url = fill_url(plain, inputs) if isinstance(plain, str) else plain
    if not isinstance(url, str):
        raise Failure(f"The action's {name} must be text.")
    return url


def split(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Failure("The action's url can't be read.") from None
    if parts.scheme != "https":
        raise Failure("The action's url must begin with https://; for the account's own use path.")
    host = parts.netloc.lower()
    if not AUTHORITY.fullmatch(host):
        raise Failure("The action's url must have a host name, and no user or password.")
    return host, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def payload(definition: dict[str, Any], inputs: Any, content_type: str) -> bytes | None:
    """The body, or None: as JSON, but for text under another content type, which is sent as it is.
    Under JSON text with placeholders is the body's text, if that is JSON."""
    plain = definition.get("requestBody")
    check_references(plain, inputs)
    value = member(definition, "requestBody", inputs)
    if value is None:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if isinstance(value, str) and kind != "application/json" and not kind.endswith("+json"):
        if isinstance(plain, str) and kind == "application/x-www-form-urlencoded":
            value = fill_form(plain, inputs)
        return value.encode("utf-8", "replace")
    if isinstance(plain, str) and PLACEHOLDER.search(plain) and is_json(value):
        return encoded(value)
    return encoded(written(value))


def check_references(body: Any, inputs: Any) -> None:
    """Fails where a `.$` member within a body leads nowhere: the service has a text for that."""
    if isinstance(body, list):
        for item in body:
            check_references(item, inputs)
    elif isinstance(body, dict):
        for key, item in body.items():
            try:
                if key.endswith(".$"):
                    refer(item, inputs)
            except Failure as failure:
                told = str(failure).removeprefix("Error Resolving JSON Params: ")
                raise Failure(f"Error Resolving JSON Params: {told}") from None
            check_references(item, inputs)


def is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


def encoded(value: str) -> bytes:
    # Half a surrogate pair has no UTF-8; what stands for it is its escape in JSON.
    return value.encode("utf-8", "backslashreplace")
