"""A dependency with `yield`: what it opens for a request it also closes, whether the request succeeds or fails.

    overdrive dependency_yield:app --app-dir examples
    curl -X POST localhost:8000/payments/30
    curl -X POST localhost:8000/payments/80
    curl localhost:8000/account

The second payment is refused, and the dependency takes back what had been booked: the balance is 70 after both. The
journal tells in which order the parts ran.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI(title="A transaction for each request")


class Account(BaseModel):
    """A balance, and what happened to it."""

    balance: int = 100
    journal: list[str] = []


account = Account()


async def transaction() -> AsyncIterator[Account]:
    """Lends the account to one request; keeps the booking if it succeeds and undoes it if it raises."""
    before = account.balance
    account.journal.append("begin")
    try:
        yield account
    except HTTPException:
        account.balance = before
        account.journal.append("roll back")
        raise
    else:
        account.journal.append("commit")


@app.post("/payments/{amount}")
async def pay(amount: int, open_account: Annotated[Account, Depends(transaction)]) -> dict[str, int]:
    """Books first and checks afterwards, relying on the transaction."""
    open_account.balance -= amount
    if open_account.balance < 0:
        raise HTTPException(409, f"{-open_account.balance} short")
    return {"balance": open_account.balance}


@app.get("/account")
async def show() -> Account:
    """The account as it stands."""
    return account
