"""One application of FastAPI's, served by uvicorn and by overdrive, must answer the same: to the last header and event.

The application is the package `application`, plain user code. `wire` sends bytes and reads answers, `pair` asks both
servers and compares, each `test_*` module is a table of behaviours. A failure shows the request, what differed and both
answers, and how to run it alone:

    python -m pytest 'tests/differential/test_paths.py::test_paths[int-takes-leading-zeros]'

Variables of the environment:

    DIFFERENTIAL_OPTIONS      options for overdrive, such as `--compile off`
    DIFFERENTIAL_LAYERED      `1`: the applications stand below a middleware that changes nothing
    DIFFERENTIAL_EXAMPLES     how many requests hypothesis makes for each operation (25)
    DIFFERENTIAL_TIMES        how often each request of the tables is sent (1)
    OVERDRIVE_TEST_COMMAND    what is compared with uvicorn, instead of overdrive
"""
