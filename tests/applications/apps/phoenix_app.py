"""Phoenix over SQLite, made of what its command `phoenix serve` makes it of."""

from __future__ import annotations

import os

from phoenix.db.engines import create_engine
from phoenix.server.app import _db, create_app
from phoenix.server.types import DbSessionFactory

engine = create_engine(
    connection_str=os.environ["PHOENIX_SQL_DATABASE_URL"], migrate=True, log_to_stdout=False, log_migrations=False
)
app = create_app(
    db=DbSessionFactory(db=_db(engine), dialect=engine.dialect.name),
    authentication_enabled=False,
    serve_ui=False,
    shutdown_callbacks=[engine.dispose],
)
