"""Forms: fields, models, files, and when each is read, validated and closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Query,
    Request,
    UploadFile,
)
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, Json, field_validator, model_validator
from starlette.datastructures import UploadFile as StarletteUploadFile
from starlette.formparsers import MultiPartParser

from .journal import add_journal, note

router = APIRouter(prefix="/forms")


def shown(value: Any) -> Any:
    """A value so that its type and, of a file, everything about it can be seen."""
    if isinstance(value, StarletteUploadFile):
        position = value.file.tell()
        content = value.file.read()
        value.file.seek(position)
        return {
            "class": type(value).__qualname__,
            "file": type(value.file).__name__,
            "filename": value.filename,
            "size": value.size,
            "content_type": value.content_type,
            "headers": [[name.decode("latin-1"), text.decode("latin-1")] for name, text in value.headers.raw],
            "position": position,
            "rolled": value.file._rolled,  # type: ignore[attr-defined]
            "max_size": [value.file._max_size, value._max_mem_size],  # type: ignore[attr-defined]
            "content": [len(content), content[:200].hex()],
        }
    if isinstance(value, BaseModel):
        extra = value.model_extra or {}
        return {
            "model": type(value).__name__,
            "set": sorted(value.model_fields_set),
            **{name: shown(item) for name, item in value},
            "extra": {name: shown(item) for name, item in extra.items()},
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [type(value).__name__, *map(shown, value)]
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return ["bytes", len(value), value[:200].hex()]
    return value


def note_closing(upload: UploadFile) -> None:
    """Notes when a file is closed."""
    close = upload.file.close

    def closing() -> None:
        note(f"closed {upload.filename}")
        close()

    upload.file.close = closing  # type: ignore[method-assign]


@router.post("/fields")
async def fields(
    name: Annotated[str, Form(max_length=20)],
    count: Annotated[int, Form(ge=0)] = 1,
    tags: Annotated[list[str] | None, Form()] = None,
    numbers: Annotated[set[int], Form()] = set(),  # noqa: B006
):
    note("endpoint")
    return shown([name, count, tags, sorted(numbers)])


@router.post("/in-thread")
def in_thread(name: Annotated[str, Form()], file: Annotated[UploadFile | None, File()] = None):
    note("endpoint")
    return shown([name, file])


@router.post("/aliased")
async def aliased(
    first: Annotated[str, Form(alias="first-name")],
    second: Annotated[str, Form(validation_alias=AliasChoices("second", "2nd"))] = "none",
    raw: Annotated[str, Form(alias="")] = "none",
):
    return shown([first, second, raw])


@router.post("/typed")
async def typed(
    data: Annotated[Json[Any] | None, Form()] = None,
    on: Annotated[bool, Form()] = False,
    pair: Annotated[tuple[int, int], Form()] = (0, 0),
    anything: Annotated[Any, Form()] = None,
):
    return shown([data, on, pair, anything])


class Plain(BaseModel):
    """An ordinary model of a form."""

    name: str
    age: int = 18
    tags: list[str] = []
    note: str | None = None

    @field_validator("name")
    @classmethod
    def named(cls, value: str) -> str:
        note(f"validator {value!r}")
        if value == "forbidden":
            raise HTTPException(403, "a validator's")
        return value


class Strict(Plain):
    """Takes nothing else."""

    model_config = ConfigDict(extra="forbid")


class Open(Plain):
    """Takes everything."""

    model_config = ConfigDict(extra="allow")


class Aliased(BaseModel):
    """Fields of other names."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")

    first: str = Field(alias="first-name")
    second: list[int] = Field([], validation_alias=AliasChoices("second[]", "seconds"))


class Seen(BaseModel):
    """Sees what it is made of."""

    given: Any

    @model_validator(mode="before")
    @classmethod
    def see(cls, data: Any) -> Any:
        return {"given": [type(data).__name__, [[key, shown(value)] for key, value in data.items()]]}


class Filed(BaseModel):
    """Fields and files."""

    name: str
    file: UploadFile
    content: Annotated[bytes | None, File()] = None
    more: list[UploadFile] = []
    contents: Annotated[list[bytes], File()] = []


@router.post("/plain")
async def plain(data: Annotated[Plain, Form()]):
    note("endpoint")
    return shown(data)


@router.post("/plain-in-thread")
def plain_in_thread(data: Annotated[Plain, Form()]):
    return shown(data)


@router.post("/strict")
async def strict(data: Annotated[Strict, Form()]):
    return shown(data)


@router.post("/open")
async def open_(data: Annotated[Open, Form()]):
    return shown(data)


@router.post("/model-aliased")
async def model_aliased(data: Annotated[Aliased, Form()]):
    return shown(data)


@router.post("/seen")
async def seen(data: Annotated[Seen, Form()]):
    return shown(data)


@router.post("/optional-model")
async def optional_model(data: Annotated[Plain | None, Form()] = None):
    return shown(data)


@router.post("/optional-open")
async def optional_open(data: Annotated[Open | None, Form()] = None):
    return shown(data)


@router.post("/union")
async def union(data: Annotated[Strict | Aliased, Form()]):
    return shown(data)


@router.post("/two-models")
async def two_models(data: Annotated[Plain, Form()], other: Annotated[Open, Form()]):
    return shown([data, other])


@router.post("/model-and-field")
async def model_and_field(data: Annotated[Plain, Form()], word: Annotated[str, Form()] = "none"):
    return shown([data, word])


@router.post("/embedded")
async def embedded(data: Annotated[Plain, Body(embed=True)], word: Annotated[str, Form()] = "none"):
    return shown([data, word])


@router.post("/with-body")
async def with_body(word: Annotated[str, Form()], number: Annotated[int, Body()] = 0):
    return shown([word, number])


@router.post("/filed")
async def filed(data: Annotated[Filed, Form()]):
    return shown(data)


@router.post("/file")
async def file(file: UploadFile):
    note("endpoint")
    return shown(file)


@router.post("/file-or-none")
async def file_or_none(file: UploadFile | None = None):
    return shown(file)


@router.post("/files")
async def files(files: list[UploadFile]):
    return shown(files)


@router.post("/files-or-none")
async def files_or_none(files: list[UploadFile] | None = None):
    return shown(files)


@router.post("/bytes")
async def bytes_(file: Annotated[bytes, File(max_length=2000)]):
    return shown(file)


@router.post("/bytes-or-none")
def bytes_or_none(file: Annotated[bytes | None, File()] = None):
    return shown(file)


@router.post("/many-bytes")
async def many_bytes(files: Annotated[list[bytes], File()], more: Annotated[tuple[bytes, ...], File()] = ()):
    return shown([files, more])


@router.post("/both")
async def both(
    content: Annotated[bytes, File(alias="file")],
    file: Annotated[UploadFile, File()],
    text: Annotated[bytes | None, Form(alias="file")] = None,
):
    return shown([content, file, text])


@router.post("/mixed/{number}")
async def mixed(
    number: int,
    file: Annotated[UploadFile, File()],
    token: Annotated[str, Form()],
    q: Annotated[int, Query()] = 0,
    x_word: Annotated[str | None, Header()] = None,
):
    note("endpoint")
    return shown([number, file, token, q, x_word])


def user(name: Annotated[str, Form(alias="user")], authorization: Annotated[str | None, Header()] = None) -> str:
    note(f"user {name}")
    if authorization is None:
        raise HTTPException(401, "who are you?")
    return name


async def attachment(file: Annotated[UploadFile | None, File()] = None) -> Any:
    note("attachment")
    return shown(file)


@router.post("/dependencies")
async def dependencies(
    user: Annotated[str, Depends(user)],
    attachment: Annotated[Any, Depends(attachment)],
    word: Annotated[str, Form()],
):
    note("endpoint")
    return shown([user, attachment, word])


async def whole(request: Request) -> Any:
    note("whole")
    form = await request.form()
    return [
        form is await request.form(),
        [[key, shown(value)] for key, value in form.multi_items()],
        type(form).__name__,
    ]


@router.post("/request")
async def of_request(
    request: Request,
    whole: Annotated[Any, Depends(whole)],
    word: Annotated[str, Form()] = "none",
    file: Annotated[UploadFile | None, File()] = None,
):
    form = await request.form(max_fields=1)
    note(f"the same file: {form.get('file') is file}")
    try:
        body = [len(await request.body())]
    except Exception as error:
        body = [repr(error)]
    return [whole, word, sorted(form), body, await request.is_disconnected()]


@router.post("/undeclared")
async def undeclared(request: Request):
    async with request.form() as form:
        return [[key, shown(value)] for key, value in form.multi_items()]


async def reader(file: UploadFile) -> AsyncIterator[UploadFile]:
    note(f"enter closed={file.file.closed}")
    first = (await file.read(2)).hex()
    note(f"first {first}")
    try:
        yield file
    except ValueError as error:
        note(f"error {error} closed={file.file.closed}")
        raise
    finally:
        note(f"exit closed={file.file.closed} at={file.file.tell()}")


async def later(file: UploadFile) -> None:
    note(f"background closed={file.file.closed} {(await file.read(2)).hex()}")


def later_in_thread(file: UploadFile) -> None:
    note(f"background in thread closed={file.file.closed} {file.file.read(2).hex()}")


@router.post("/closing")
async def closing(
    background: BackgroundTasks,
    read: Annotated[UploadFile, Depends(reader)],
    file: UploadFile,
    how: Annotated[str, Form()] = "return",
):
    note_closing(file)
    background.add_task(later, file)
    background.add_task(later_in_thread, file)
    note(f"endpoint {file is read} {(await file.read(2)).hex()}")
    if how == "raise":
        raise ValueError("the endpoint fails")
    if how == "refuse":
        raise HTTPException(418, "the endpoint refuses")
    if how == "close":
        await file.close()
        background.tasks.clear()
    return how


@router.post("/keeps")
async def keeps(file: UploadFile, how: Annotated[str, Form()] = "return"):
    note_closing(file)
    if how == "raise":
        raise ValueError("the endpoint fails")
    if how == "refuse":
        raise HTTPException(418, "the endpoint refuses")
    if how == "write":
        await file.seek(0)
        await file.write(b"written")
        await file.seek(0)
    return shown(file)


@router.post("/keeps-invalid")
async def keeps_invalid(file: UploadFile, number: Annotated[int, Form()]):
    raise AssertionError("never called")


@router.post("/spool/{size}")
async def spool(size: int) -> None:
    MultiPartParser.spool_max_size = size


@router.get("/by-query")
async def by_query(word: Annotated[str, Form()] = "none"):
    return word


limited = APIRouter(prefix="/limited", form_limits={"max_fields": 2, "max_files": 1})


@limited.post("/inherited")
async def inherited(a: Annotated[list[str] | None, Form()] = None, file: list[UploadFile] | None = None):
    return shown([a, file])


@limited.post("/own", form_limits={"max_fields": 3, "max_part_size": 10})
async def own(a: Annotated[list[str] | None, Form()] = None, file: list[UploadFile] | None = None):
    return shown([a, file])


@limited.post("/none", form_limits={"max_fields": 0, "max_files": 0})
async def none(a: Annotated[list[str] | None, Form()] = None):
    return shown(a)


@limited.post("/small", max_body_size=400)
async def small(a: Annotated[str, Form()], file: UploadFile | None = None):
    return shown([a, file])


mounted = FastAPI()


@mounted.post("/within")
async def within(a: Annotated[list[str] | None, Form()] = None, file: UploadFile | None = None):
    return shown([a, file])


limited.mount("/mounted", mounted)
router.mount("/mounted", mounted)

app = FastAPI()
app.include_router(router)
app.include_router(limited)
add_journal(app)
