"""A small Gradio application, as its documentation builds them, served by Gradio's own routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
from fastapi import FastAPI


def greet(name: str) -> str:
    """An event."""
    if name == "nobody":
        raise gr.Error("nobody to greet")
    return f"Hello {name}"


def count(to: float) -> Iterator[str]:
    """An event that answers in steps."""
    for number in range(int(to)):
        yield f"step {number}"


def measure(path: str) -> int:
    """An event that is given a file."""
    return Path(path).stat().st_size


def remember(name: str, seen: list[str]) -> tuple[str, list[str]]:
    """An event with a state of the session's."""
    seen = [*seen, name]
    return ", ".join(seen), seen


with gr.Blocks(title="A test") as demo:
    name, greeting = gr.Textbox(label="name"), gr.Textbox(label="greeting")
    gr.Button("greet").click(greet, name, greeting, api_name="greet")
    number, step = gr.Number(label="to"), gr.Textbox(label="step")
    gr.Button("count").click(count, number, step, api_name="count")
    file, size = gr.File(label="file"), gr.Number(label="size")
    gr.Button("measure").click(measure, file, size, api_name="measure")
    seen, names = gr.State([]), gr.Textbox(label="names")
    gr.Button("remember").click(remember, [name, seen], [names, seen], api_name="remember")

# Gradio's command makes the same application, and starts a server of its own for it.
app = gr.mount_gradio_app(FastAPI(), demo, path="/", show_error=True, server_name="127.0.0.1").routes[-1].app
