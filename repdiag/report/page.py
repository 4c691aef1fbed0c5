"""What every page of ours is: one HTML file that opens anywhere, offline, and runs nothing but its own scripts.

A page's template extends layout.html.j2. `report.css` and `page.js` are under each of them; what else a page needs
it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from repdiag.report import grids
from repdiag.report.text import clean

if TYPE_CHECKING:
    import jinja2


@cache
def asset(name: str) -> Markup:
    """A style sheet or script of ours, inlined as it is; our own, so not escaped."""
    return Markup(files("repdiag.report").joinpath("templates", name).read_text("utf-8"))  # noqa: S704


@cache
def environment() -> jinja2.Environment:
    """The templates; everything that is put into them is escaped, and a name they lack is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("repdiag.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii") + "'"


def content_policy(styles: str, scripts: tuple[str, ...]) -> str:
    """A Content-Security-Policy under which exactly these styles and scripts run and nothing is fetched."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(styles)};"
        f" script-src {' '.join(map(_hash, scripts)) or chr(39) + 'none' + chr(39)};"
        " base-uri 'none'; form-action 'none'"
    )


def embedded_json(value: Any) -> Markup:
    """`value` as JSON for a <script type="application/json">: no sequence that could end the element, and no
    line separator that old parsers trip over. Raises ValueError on NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing in it can end or open an element now


def render_page(
    template: str,
    *,
    title: str,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    **context: Any,
) -> str:
    """The text of a page: `styles` and `scripts` by the names of their files, each once and in this order; report.css
    and page.js, which every page has, before them.

    `data` (element id -> anything JSON has a form for) is put behind everything that is seen, so that the page is
    painted before it is parsed; a script reads it with `JSON.parse(document.getElementById(id).textContent)`.
    """
    style = Markup("\n").join(asset(name) for name in dict.fromkeys(("report.css", *styles)))
    code = tuple(asset(name) for name in dict.fromkeys(("page.js", *scripts)))
    rendered = (
        environment()
        .get_template(template)
        .render(
            title=title,
            policy=content_policy(style, code),
            styles=style,
            scripts=code,
            blocks={name: embedded_json(value) for name, value in (data or {}).items()},
            grid=grids.grid,
            words=grids.text,
            **context,
        )
    )
    return clean(rendered)
