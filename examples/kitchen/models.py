"""What an order is, as it comes in, as it is stored, and as it is shown."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=120)]


class Dish(StrEnum):
    """The menu."""

    SOUP = "soup"
    PASTA = "pasta"
    CURRY = "curry"
    PIE = "pie"


class State(StrEnum):
    """Where an order stands; an order only ever moves forward, and only a waiting one can be cancelled."""

    WAITING = "waiting"
    COOKING = "cooking"
    READY = "ready"
    CANCELLED = "cancelled"


class NewOrder(BaseModel):
    """An order as a guest places it."""

    model_config = ConfigDict(extra="forbid")

    guest: Name
    dish: Dish
    portions: Annotated[int, Field(ge=1, le=12)] = 1
    note: Note = ""


class Order(NewOrder):
    """An order that the kitchen has taken."""

    number: int
    state: State = State.WAITING
