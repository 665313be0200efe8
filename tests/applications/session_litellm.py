"""Calls of models that answer themselves, and the proxy's own pages, with the master's key, a wrong one and none."""

from __future__ import annotations

from tests.applications.recorded import Recorder

KEY = "sk-0123456789abcdef0123456789abcdef"
HEADERS = {"authorization": f"Bearer {KEY}"}
VARYING = {
    "x-litellm-call-id", "x-litellm-response-duration-ms", "x-litellm-overhead-duration-ms",
    "x-litellm-callback-duration-ms", "x-litellm-timing-llm-api-ms", "x-litellm-timing-pre-processing-ms",
    "x-litellm-timing-post-processing-ms", "x-litellm-timing-message-copy-ms", "x-litellm-key-spend", "id",
    "response_ms", "created",
}  # fmt: skip
HELLO = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}


def hold(recorder: Recorder) -> None:
    """The session."""
    service(recorder)
    calls(recorder)
    about_models(recorder)
    tools(recorder)
    without_a_database(recorder)
    refused(recorder)


def service(recorder: Recorder) -> None:
    for path in ("/health/liveliness", "/health/liveness", "/health/readiness", "/routes", "/get_logo_url"):
        recorder.ask("GET", path)
    recorder.ask("OPTIONS", "/health/liveliness")
    recorder.ask("OPTIONS", "/v1/models", headers={"origin": "http://a.test", "access-control-request-method": "GET"})
    recorder.ask("GET", "/none")
    recorder.ask("PUT", "/v1/models")
    for path in ("/public/providers", "/public/model_hub", "/public/model_hub/info", "/settings", "/active/callbacks"):
        recorder.ask("GET", path)
    for path in ("/get/config/callbacks", "/health/services", "/cache/ping", "/sso/readiness", "/provider/budgets"):
        recorder.ask("GET", path)
    recorder.ask("GET", "/get_favicon")
    recorder.ask("GET", "/.well-known/litellm-ui-config")
    recorder.ask("GET", "/test")
    recorder.ask("GET", "/get/ui_settings")


def calls(recorder: Recorder) -> None:
    for path in ("/v1/chat/completions", "/chat/completions", "/engines/mock/chat/completions"):
        recorder.ask("POST", path, HELLO)
    recorder.ask("POST", "/openai/deployments/mock/chat/completions", HELLO)
    recorder.ask("POST", "/v1/chat/completions", {**HELLO, "stream": True})
    recorder.ask("POST", "/v1/chat/completions", {**HELLO, "max_tokens": 5, "user": "ada", "metadata": {"a": "b"}})
    recorder.ask("POST", "/v1/chat/completions", {**HELLO, "model": "none"})
    recorder.ask("POST", "/v1/chat/completions", {"model": "mock"})
    recorder.ask("POST", "/v1/chat/completions", headers={"content-type": "application/json"}, body=b'{"model": ')
    recorder.ask("POST", "/v1/chat/completions", headers={"content-type": "application/json"}, body=b"")
    recorder.ask("POST", "/v1/completions", {"model": "mock", "prompt": "Hello"})
    recorder.ask("POST", "/v1/completions", {"model": "mock", "prompt": "Hello", "stream": True})
    recorder.ask("POST", "/v1/embeddings", {"model": "embedding", "input": "Hello"})
    recorder.ask("POST", "/v1/embeddings", {"model": "embedding", "input": ["Hello", "there"]})
    recorder.ask("POST", "/v1/messages", {**HELLO, "max_tokens": 10})
    recorder.ask("POST", "/v1/responses", {"model": "mock", "input": "Hello"})
    recorder.ask("POST", "/v1/images/generations", {"model": "none", "prompt": "a cat"})
    recorder.ask("POST", "/v1/moderations", {"model": "none", "input": "Hello"})
    recorder.ask("POST", "/v1/rerank", {"model": "none", "query": "a", "documents": ["b"]})


def about_models(recorder: Recorder) -> None:
    for path in ("/v1/models", "/models", "/v1/models/mock", "/models/none", "/v1/model/info", "/model/info"):
        recorder.ask("GET", path)
    for path in ("/v2/model/info", "/model_group/info", "/model_group/info?model_group=mock", "/model/settings"):
        recorder.ask("GET", path)
    recorder.ask("GET", "/v1/model/info?litellm_model_id=mock-1")
    recorder.ask("GET", "/v1/model/info?litellm_model_id=none")
    recorder.ask("GET", "/v1/models?return_wildcard_routes=maybe")
    recorder.ask("POST", "/model/new", {"model_name": "new", "litellm_params": {"model": "openai/new"}})
    recorder.ask("POST", "/model/new", {"model_name": "new"})
    recorder.ask("POST", "/model/delete", {"id": "none"})
    recorder.ask("POST", "/model/update", {"model_name": 5})
    recorder.ask("GET", "/fallback/mock")


def tools(recorder: Recorder) -> None:
    recorder.ask("GET", "/utils/supported_openai_params?model=openai/gpt-4o-mini")
    recorder.ask("GET", "/utils/supported_openai_params?model=none")
    recorder.ask("GET", "/utils/supported_openai_params")
    recorder.ask("POST", "/utils/token_counter", {"model": "mock", "prompt": "Hello there"})
    recorder.ask("POST", "/utils/token_counter", {"model": "mock", "messages": HELLO["messages"]})
    recorder.ask("POST", "/utils/token_counter", {"prompt": 5})
    recorder.ask("POST", "/utils/transform_request", {"call_type": "completion", "request_body": HELLO})
    recorder.ask("POST", "/utils/transform_request", {"call_type": "none", "request_body": {}})
    # In an order of addresses in memory.
    recorder.ask("GET", "/callbacks/list", record=False)
    recorder.ask("GET", "/guardrails/list")
    recorder.ask("GET", "/prompts/list")
    recorder.ask("GET", "/v1/mcp/server")
    recorder.ask("GET", "/in_product_nudges")
    recorder.ask("GET", "/router/settings")
    recorder.ask("GET", "/router/fields")
    recorder.ask("GET", "/cache/settings")
    recorder.ask("GET", "/policies/list")
    recorder.ask("GET", "/health/history")
    recorder.ask("GET", "/debug/memory/summary", record=False)


def without_a_database(recorder: Recorder) -> None:
    """What is made and kept: there is nowhere to keep it, which the proxy says in many ways."""
    recorder.ask("POST", "/key/generate", {"models": ["mock"], "duration": "1h"})
    recorder.ask("POST", "/key/generate", {"models": "mock", "max_budget": "much"})
    for path in ("/key/list", "/key/info", "/user/info", "/user/list", "/team/list", "/budget/list", "/customer/list"):
        recorder.ask("GET", path)
    recorder.ask("POST", "/team/new", {"team_alias": "one"})
    recorder.ask("POST", "/user/new", {"user_email": 5})
    recorder.ask("POST", "/budget/new", {"max_budget": 1.0})
    recorder.ask("POST", "/customer/new", {"alias": "no id"})
    recorder.ask("GET", "/spend/logs")
    recorder.ask("GET", "/global/spend")
    recorder.ask("GET", "/credentials")
    recorder.ask("POST", "/credentials", {"credential_name": "one", "credential_values": {}, "credential_info": {}})
    recorder.ask("GET", "/credentials")
    recorder.ask("GET", "/credentials/by_name/one")
    recorder.ask("DELETE", "/credentials/one")
    recorder.ask("GET", "/invitation/info?invitation_id=none")
    recorder.ask("GET", "/organization/list")
    recorder.ask("GET", "/tag/list")


def refused(recorder: Recorder) -> None:
    for key in ("Bearer sk-wrong", "Bearer ", "Basic YTpi", ""):
        recorder.ask("GET", "/v1/models", headers={"authorization": key})
    recorder.ask("POST", "/v1/chat/completions", HELLO, headers={"authorization": "Bearer sk-wrong"})
    recorder.ask("GET", "/v1/models", headers={"authorization": "", "x-api-key": KEY})
