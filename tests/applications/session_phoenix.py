"""Datasets, experiments, prompts, spans and their annotations in Phoenix: made, read, changed and deleted."""

from __future__ import annotations

from typing import Any

from tests.applications.recorded import Recorder

HEADERS: dict[str, str] = {}
VARYING: set[str] = set()

MOMENT = "2024-05-06T07:08:09+00:00"
LATER = "2024-05-06T07:08:10+00:00"


def hold(recorder: Recorder) -> None:
    """The session."""
    service(recorder)
    projects(recorder)
    datasets(recorder)
    prompts(recorder)
    annotations(recorder)
    graphql(recorder)


def service(recorder: Recorder) -> None:
    for path in ("/healthz", "/readyz", "/arize_phoenix_version", "/docs", "/v1/model_providers", "/auth.md"):
        recorder.ask("GET", path)
    recorder.ask("HEAD", "/.well-known/oauth-protected-resource")
    recorder.ask("GET", "/v1/nothing")
    recorder.ask("PATCH", "/v1/projects")
    recorder.ask("GET", "/v1/projects/")
    recorder.ask("GET", "/v1/user")
    recorder.ask("GET", "/v1/users")
    recorder.ask("GET", "/v1/custom_model_providers")


def projects(recorder: Recorder) -> None:
    made = {"name": "one", "description": "the first"}
    recorder.ask("POST", "/v1/projects", made)
    recorder.ask("POST", "/v1/projects", made)
    recorder.ask("POST", "/v1/projects", {"description": 5})
    recorder.ask("POST", "/v1/projects", headers={"content-type": "application/json"}, body=b'{"name": ')
    recorder.ask("GET", "/v1/projects")
    recorder.ask("GET", "/v1/projects?limit=0")
    recorder.ask("GET", "/v1/projects/one")
    recorder.ask("PUT", "/v1/projects/one", {"description": "the same"})
    recorder.ask("GET", "/v1/projects/one")
    span = {
        "name": "a call",
        "context": {"trace_id": "5b8aa5a2d2c872e8321cf37308d69df2", "span_id": "051581bf3cb55c13"},
        "span_kind": "CHAIN",
        "start_time": MOMENT,
        "end_time": LATER,
        "status_code": "OK",
        "attributes": {"input.value": "what", "output.value": "that", "session.id": "a-session"},
    }
    recorder.ask("POST", "/v1/projects/one/spans", {"data": [span]})
    recorder.ask("POST", "/v1/projects/one/spans", {"data": [{}]})
    # Spans are stored by a task of its own.
    for _ in range(200):
        if (recorder.document("GET", "/v1/projects/one/spans", record=False) or {}).get("data"):
            break
    recorder.ask("GET", "/v1/projects/one/spans")
    recorder.ask("GET", "/v1/projects/one/spans/otlpv1?limit=5")
    recorder.ask("GET", "/v1/projects/one/traces")
    recorder.ask("GET", "/v1/projects/one/sessions")
    recorder.ask("GET", "/v1/sessions/a-session")
    recorder.ask("POST", "/v1/traces", headers={"content-type": "application/x-protobuf"}, body=b"nonsense")
    recorder.ask("POST", "/v1/traces", headers={"content-type": "text/plain"}, body=b"")


def datasets(recorder: Recorder) -> None:
    uploaded = {
        "action": "create",
        "name": "questions",
        "inputs": [{"q": "one"}, {"q": "zwölf"}],
        "outputs": [{"a": 1}, {"a": 12}],
        "metadata": [{}, {"hard": True}],
    }
    data = (recorder.document("POST", "/v1/datasets/upload?sync=true", uploaded) or {}).get("data") or {}
    recorder.ask("POST", "/v1/datasets/upload?sync=true", uploaded)
    recorder.ask("POST", "/v1/datasets/upload", {"action": "create"})
    boundary = "a-boundary"
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (
            ("action", "create"),
            ("name", "from a file"),
            ("input_keys[]", "q"),
            ("output_keys[]", "a"),
        )
    ]
    head = 'Content-Disposition: form-data; name="file"; filename="some.csv"\r\nContent-Type: text/csv\r\n\r\n'
    lines.append(f"--{boundary}\r\n{head}q,a\n1,2\n3,4\n\r\n--{boundary}--\r\n")
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    recorder.ask("POST", "/v1/datasets/upload?sync=true", headers=kind, body="".join(lines).encode())
    identifier = data.get("dataset_id", "none")
    recorder.ask("GET", "/v1/datasets")
    recorder.ask("GET", "/v1/datasets?name=questions&limit=1")
    recorder.ask("GET", f"/v1/datasets/{identifier}")
    examples = (recorder.document("GET", f"/v1/datasets/{identifier}/examples") or {}).get("data") or {}
    for kind_of_file in ("csv", "jsonl", "jsonl/openai_ft", "jsonl/openai_evals", "versions", "splits", "labels"):
        recorder.ask("GET", f"/v1/datasets/{identifier}/{kind_of_file}")
    recorder.ask("GET", "/v1/datasets/RGF0YXNldDo5OTk=")
    recorder.ask("GET", "/v1/datasets/no-such")
    label: Any = recorder.document("POST", "/v1/dataset_labels", {"name": "good", "color": "#00ff00"}) or {}
    label = (label.get("data") or {}).get("id", "none")
    recorder.ask("GET", "/v1/dataset_labels")
    recorder.ask("PATCH", f"/v1/dataset_labels/{label}", {"name": "better"})
    recorder.ask("PUT", f"/v1/datasets/{identifier}/labels/{label}")
    recorder.ask("DELETE", f"/v1/dataset_labels/{label}")
    recorder.ask("DELETE", f"/v1/dataset_labels/{label}")
    experiments(recorder, identifier, [example["id"] for example in examples.get("examples", [])])
    recorder.ask("DELETE", f"/v1/datasets/{identifier}")
    recorder.ask("GET", f"/v1/datasets/{identifier}")


def experiments(recorder: Recorder, dataset: str, examples: list[str]) -> None:
    made: Any = recorder.document("POST", f"/v1/datasets/{dataset}/experiments", {"name": "try", "repetitions": 1})
    experiment = ((made or {}).get("data") or {}).get("id", "none")
    recorder.ask("GET", f"/v1/datasets/{dataset}/experiments")
    recorder.ask("GET", f"/v1/experiments/{experiment}")
    recorder.ask("GET", f"/v1/experiments/{experiment}/incomplete-runs")
    for number, example in enumerate(examples):
        run = {
            "dataset_example_id": example,
            "output": number,
            "repetition_number": 1,
            "start_time": MOMENT,
            "end_time": LATER,
        }
        recorder.ask("POST", f"/v1/experiments/{experiment}/runs", run)
    recorder.ask("POST", f"/v1/experiments/{experiment}/runs", {"output": 1})
    recorder.ask("GET", f"/v1/experiments/{experiment}/runs")
    recorder.ask("GET", f"/v1/experiments/{experiment}/json")
    recorder.ask("GET", f"/v1/experiments/{experiment}/csv")
    recorder.ask("PATCH", f"/v1/experiments/{experiment}", {"name": "tried"})
    recorder.ask("DELETE", f"/v1/experiments/{experiment}")
    recorder.ask("GET", f"/v1/experiments/{experiment}/json")


def prompts(recorder: Recorder) -> None:
    version = {
        "description": "first",
        "model_provider": "OPENAI",
        "model_name": "a-model",
        "template": {"type": "chat", "messages": [{"role": "user", "content": "Hello {{name}}"}]},
        "template_type": "CHAT",
        "template_format": "MUSTACHE",
        "invocation_parameters": {"type": "openai", "openai": {"temperature": 0.5}},
    }
    made: Any = recorder.document(
        "POST", "/v1/prompts", {"prompt": {"name": "greeting", "description": "polite"}, "version": version}
    )
    identifier = ((made or {}).get("data") or {}).get("id", "none")
    recorder.ask("POST", "/v1/prompts", {"prompt": {"name": "Not A Name"}, "version": version})
    recorder.ask("GET", "/v1/prompts")
    recorder.ask("GET", "/v1/prompts/greeting/versions")
    recorder.ask("GET", "/v1/prompts/greeting/latest")
    recorder.ask("POST", "/v1/prompts/greeting/versions", {"version": {**version, "description": "second"}})
    recorder.ask("GET", f"/v1/prompt_versions/{identifier}")
    recorder.ask("POST", f"/v1/prompt_versions/{identifier}/tags", {"name": "production", "description": "in use"})
    recorder.ask("GET", f"/v1/prompt_versions/{identifier}/tags")
    recorder.ask("GET", "/v1/prompts/greeting/tags/production")
    recorder.ask("GET", "/v1/prompts/greeting/tags/none")
    recorder.ask("DELETE", f"/v1/prompt_versions/{identifier}/tags/production")
    recorder.ask("PATCH", "/v1/prompts/greeting", {"description": "very polite"})
    recorder.ask("DELETE", "/v1/prompts/greeting")
    recorder.ask("DELETE", "/v1/prompts/greeting")


def annotations(recorder: Recorder) -> None:
    config = {
        "name": "quality",
        "type": "CATEGORICAL",
        "optimization_direction": "MAXIMIZE",
        "values": [{"label": "good", "score": 1}, {"label": "bad", "score": 0}],
    }
    made: Any = recorder.document("POST", "/v1/annotation_configs", config)
    identifier = ((made or {}).get("data") or {}).get("id", "none")
    recorder.ask("POST", "/v1/annotation_configs", {**config, "values": "none"})
    recorder.ask("GET", "/v1/annotation_configs")
    recorder.ask("GET", "/v1/annotation_configs/quality")
    recorder.ask("PUT", f"/v1/annotation_configs/{identifier}", {**config, "description": "how good"})
    recorder.ask("PUT", f"/v1/projects/one/annotation_configs/{identifier}")
    recorder.ask("GET", "/v1/projects/one/annotation_configs")
    noted = {
        "span_id": "051581bf3cb55c13",
        "name": "quality",
        "annotator_kind": "HUMAN",
        "result": {"label": "good", "score": 1},
    }
    recorder.ask("POST", "/v1/span_annotations?sync=true", {"data": [noted]})
    recorder.ask("POST", "/v1/span_annotations?sync=true", {"data": [{**noted, "span_id": "0000000000000000"}]})
    recorder.ask("POST", "/v1/span_annotations?sync=maybe", {"data": "none"})
    recorder.ask("GET", "/v1/projects/one/span_annotations?span_ids=051581bf3cb55c13")
    recorder.ask("POST", "/v1/span_notes", {"data": {"span_id": "051581bf3cb55c13", "note": "seen"}})
    recorder.ask("DELETE", f"/v1/annotation_configs/{identifier}")
    recorder.ask("DELETE", "/v1/spans/051581bf3cb55c13")
    recorder.ask("DELETE", "/v1/projects/one")
    recorder.ask("GET", "/v1/projects/one")


def graphql(recorder: Recorder) -> None:
    recorder.ask("POST", "/graphql", {"query": "{ projects { edges { node { name } } } }"})
    recorder.ask("POST", "/graphql", {"query": "{ nothing }"})
    recorder.ask("GET", "/graphql?query=%7B__typename%7D")
    recorder.ask("POST", "/graphql", headers={"content-type": "application/json"}, body=b"[")
