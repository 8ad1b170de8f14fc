"""Values out of an action's inputs: reference paths (`$.a.b[0]`), placeholders (`{{$.x}}`) and
members whose key ends in `.$`.
"""

import json
import re
from typing import Any
from urllib.parse import quote, unquote

PATH = re.compile(r"""\$(?:\.[^.\[\]\s'"{}]+|\[\d+\]|\['[^']*'\])*""")
STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]""")
PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
# What may stand in a segment of a path beside letters and digits (RFC 3986, section 3.3), and in a
# whole URL.
SEGMENT_CHARACTERS = ":@!$&'()*+,;=~"
URL_CHARACTERS = "%/?#[]:@!$&'()*+,;=~"


class Failure(Exception):
    """Why an action has no result, as a sentence for people."""


def lookup(path: str, inputs: Any) -> Any:
    """The value that a reference path leads to."""
    missing = Failure(f"JSON path not found: {path}")
    if not PATH.fullmatch(path):
        raise missing
    value = inputs
    for name, index, quoted in STEP.findall(path):
        if index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        elif not index and isinstance(value, dict) and (name or quoted) in value:
            value = value[name or quoted]
        else:
            raise missing
    return value


def text(value: Any) -> str:
    """A value as it stands in the midst of text: text as it is, all else as JSON."""
    return value if isinstance(value, str) else written(value)


def written(value: Any) -> str:
    """A value as JSON, its letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fill(template: str, inputs: Any) -> str:
    """A text with its placeholders replaced."""
    return PLACEHOLDER.sub(lambda place: text(lookup(place[1], inputs)), template)


def fill_url(template: str, inputs: Any) -> str:
    """A URL with its placeholders replaced, so that a value can't become more than it stands for.

    What a template begins with is taken for (a part of) a URL, as in `{{$.next_page}}`. After a
    `?` a value is one value of the query, and before it (a part of) one segment of the path: a
    slash in it separates nothing, and a value that leads up the path is refused.
    """
    if not PLACEHOLDER.search(template):
        return quote(template, safe=URL_CHARACTERS)
    url, end = "", 0
    for place in PLACEHOLDER.finditer(template):
        url += template[end : place.start()]
        value, end = text(lookup(place[1], inputs)), place.end()
        if not url:
            url = value
        else:
            url += quote(value, safe="" if "?" in url else SEGMENT_CHARACTERS)
    url = quote(url + template[end:], safe=URL_CHARACTERS)
    # As an origin may read it: decoded, and with a backslash for a slash.
    path = unquote(re.split(r"[?#]", url, maxsplit=1)[0])
    if any(segment in (".", "..") for segment in re.split(r"[/\\]", path)):
        raise Failure("A value would lead to another path: . and .. may not be a segment of it.")
    return url


def fill_form(template: str, inputs: Any) -> str:
    """A form's text with its placeholders replaced, each by one encoded value; a template that is
    one placeholder stands for the whole form."""
    if PLACEHOLDER.fullmatch(template.strip()):
        return fill(template, inputs)
    return PLACEHOLDER.sub(lambda place: quote(text(lookup(place[1], inputs)), safe=""), template)


def resolve(value: Any, inputs: Any) -> Any:
    """A JSON value with its placeholders replaced and its `.$` members resolved.

    A `$.x` that is neither is text, and stays so.
    """
    if isinstance(value, str):
        return fill(value, inputs)
    if isinstance(value, list):
        return [resolve(item, inputs) for item in value]
    if not isinstance(value, dict):
        return value
    for key in value:
        if key.endswith(".$") and key.removesuffix(".$") in value:
            raise Failure(f"{key.removesuffix('.$')} is given twice, with .$ and without.")
    return {
        key.removesuffix(".$"):
            refer(item, inputs) if key.endswith(".$") else resolve(item, inputs)
        for key, item in value.items()
    }


def refer(reference: Any, inputs: Any, render=fill) -> Any:
    """What the value of a `.$` member stands for: a reference path or a text with placeholders."""
    if not isinstance(reference, str):
        raise Failure("Error Resolving JSON Params: what a .$ member holds must be text.")
    if PLACEHOLDER.search(reference) or not reference.startswith("$"):
        return render(reference, inputs)
    return lookup(reference, inputs)
