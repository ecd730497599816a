"""The pages that a person reads in a browser: /docs, /problems and /problems/{code}. Plain HTML, made here, nothing from elsewhere."""

import json
from html import escape
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from caravan.kernel.access import Public
from caravan.kernel.openapi import known_problems, problem_example, problem_schemas
from caravan.kernel.problems import NotFound, Problem
from caravan.kernel.rendering import MEDIA_TYPE
from caravan.kernel.routes import Router

_STYLE: Final = """
body{font:16px/1.55 system-ui,"Noto Sans CJK SC",sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:#f4f6f8;padding:.8rem;overflow:auto;border-radius:6px}
summary{cursor:pointer;padding:.3rem 0}summary b{display:inline-block;width:4.5rem}h2{margin-top:2.2rem;border-bottom:1px solid #d6dde4}
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}.who{color:#5a6b7b}
details>div{border-left:3px solid #d6dde4;padding-left:1rem}
"""
_HEADERS: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


router: Final = Router()
"""The pages and /openapi.json, of whichever app is asked."""


@router.get("/openapi.json", include_in_schema=False)
async def openapi_json(request: Request, _: Public) -> Response:
    """The OpenAPI document."""
    root = request.scope.get("root_path", "")
    found = request.app.openapi() | ({"servers": [{"url": root}]} if root else {})
    return Response(json.dumps(found, ensure_ascii=False), media_type="application/json")


@router.get("/docs", include_in_schema=False)
async def api(request: Request, _: Public) -> Response:
    """The API, to read."""
    return _page(f"{request.app.title} · API 文档", _operations(request.app.openapi()))


@router.get("/problems", include_in_schema=False)
async def problem_list(_: Public) -> Response:
    """All problems."""
    rows = "".join(
        f'<tr><td>{one.status}<td><a href="problems/{code}"><code>{code}</code></a><td>{escape(one.title)}<td>{escape(one.title_zh)}'
        for code, one in sorted(known_problems().items())
    )
    return _page("Problems · 错误说明", f"<table>{rows}</table>")


@router.get("/problems/{code}", include_in_schema=False)
async def problem_page(code: str, _: Public) -> Response:
    """One problem: what it means and what to do."""
    return problem_documentation(code)


def problem_documentation(code: str) -> Response:
    """The page that a problem's `type` leads to. Raises NotFound."""
    found = known_problems().get(code)
    if found is None:
        raise NotFound()
    return _page(f"{found.title} · {found.title_zh}", _problem(found))


def _page(title: str, body: str) -> Response:
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )
    return Response(html, media_type="text/html; charset=utf-8", headers=_HEADERS)


def _pre(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, ensure_ascii=False, indent=2))}</pre>"


def _problem(problem: type[Problem]) -> str:
    example = problem_example(problem, problem_schemas(problem))
    words = escape(" ".join((problem.__doc__ or "").split())).replace("`", "")
    return (
        f"<p>{words}</p><table><tr><th>status · 状态码<td>{problem.status}<tr><th>code · 代码<td><code>{problem.code}</code></table>"
        f"<p><code>{MEDIA_TYPE}</code></p>{_pre(example)}"
    )


def _operations(document: dict[str, Any]) -> str:
    tags: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            tags.setdefault((operation.get("tags") or [""])[0], []).append(_operation(method, path, operation))
    parts = [f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in tags.items()]
    schemas = "".join(
        f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary>{_pre(schema)}</details>"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
    )
    links = (
        '<p><a href="openapi.json">openapi.json</a> · <a href="problems">problems · 错误说明</a> · '
        "<code>Authorization: Bearer &lt;token&gt;</code></p>"
    )
    return f"{links}{''.join(parts)}<h2>Schemas · 数据结构</h2>{schemas}"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    who = [
        scope for requirement in operation.get("security", []) for scopes in requirement.values() for scope in scopes
    ]
    allowed = "any valid token" if operation.get("security") and not who else ", ".join(who) or "everybody"
    parameters = "".join(
        f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}<td>{'required' if one.get('required') else ''}"
        f"<td>{escape(one.get('description', ''))}"
        for one in operation.get("parameters", [])
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    request = f"<p>Request · 请求</p>{_pre(body.get('example'))}" if body else ""
    answers = "".join(f"<tr><td>{status}<td>{_answer(response)}" for status, response in operation["responses"].items())
    return (
        f"<details id='{escape(operation['operationId'])}'><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary><div><p>{escape(operation.get('description', ''))}</p>"
        f"<p class=who>{escape(allowed)}</p><table>{parameters}</table>{request}"
        f"<p>Answers · 响应</p><table>{answers}</table></div></details>"
    )


def _answer(response: dict[str, Any]) -> str:
    codes = response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    links = " ".join(f'<a href="problems/{code}"><code>{code}</code></a>' for code in codes)
    shown = [content.get("example") for content in response.get("content", {}).values() if content.get("example")]
    return escape(response.get("description", "")) + f" {links}" + "".join(_pre(one) for one in shown)
