"""The page in the browser: one file of HTML, style and script, with nothing to fetch from anywhere else."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from .models import Dish

router = APIRouter(include_in_schema=False)

# The pictures are drawn in the page: not every machine has a font with pictures of food.
_MENU = "\n".join(
    f'<label class="dish"><input type="radio" name="dish" value="{dish}"{" checked" if dish is Dish.SOUP else ""}>'
    f'<span><svg class="picture" aria-hidden="true"><use href="#{dish}"/></svg>{dish.capitalize()}</span></label>'
    for dish in Dish
)

_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8").replace("<!-- menu -->", _MENU)

# The page holds its own style and script and talks to this server only; the browser enforces it.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/")
async def page() -> HTMLResponse:
    """Orders, as a guest and the kitchen see them."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})
