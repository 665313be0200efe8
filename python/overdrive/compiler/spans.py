"""Spans as OpenTelemetry's SDK starts them, where it is known beforehand what its sampler says.

A tracer asks its sampler, which asks for the parent again, and copies attributes one by one, each with a look at its
type. Where the sampler keeps whatever has no parent, or a parent here that is kept, and the attributes are texts and
numbers, `Spans` makes the same span in one go; any other is the tracer's own. Identifiers come from the provider's
generator, and its processors and metrics are told, as always.
"""

from __future__ import annotations

import threading
from time import time_ns
from typing import Any


class Spans:
    """Starts spans."""

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.attributes import BoundedAttributes
        from opentelemetry.sdk import trace as sdk
        from opentelemetry.sdk.trace import sampling
        from opentelemetry.sdk.util import BoundedList

        self.trace = trace
        self.tracer = sdk.Tracer
        self.span = sdk._Span
        self.sampler = sampling.ParentBased
        self.kept = sampling.ALWAYS_ON
        self.decision = sampling.Decision.RECORD_AND_SAMPLE
        self.attributes = BoundedAttributes
        self.list = BoundedList
        self.context = trace.SpanContext
        self.internal = trace.SpanKind.INTERNAL
        self.status = trace.Status(trace.StatusCode.UNSET)
        sampled, random = trace.TraceFlags.SAMPLED, trace.TraceFlags.RANDOM_TRACE_ID
        self.flags = trace.TraceFlags(sampled), trace.TraceFlags(sampled | random)

    def start(self, tracer: Any, name: str, context: Any = None, kind: Any = None, attributes: Any = None) -> Any:
        """As `tracer.start_span`; the attributes, if there are any, are texts and whole numbers."""
        kind = self.internal if kind is None else kind
        real = getattr(tracer, "_real_tracer", None) or tracer
        if type(real) is not self.tracer or type(real.sampler) is not self.sampler or not real._is_enabled():
            return tracer.start_span(name, context=context, kind=kind, attributes=attributes)
        sampler, generator = real.sampler, real.id_generator
        parent = self.trace.get_current_span(context).get_span_context()
        if type(parent) is not self.context:
            return tracer.start_span(name, context=context, kind=kind, attributes=attributes)
        if parent.is_valid:
            is_kept = not parent.is_remote and parent.trace_flags.sampled and sampler._local_parent_sampled is self.kept
        else:
            is_kept = sampler._root is self.kept
        limits = real._span_limits
        longest, most = limits.max_span_attribute_length, limits.max_span_attributes
        if not is_kept or (attributes and (longest is not None or (most is not None and most < len(attributes)))):
            return tracer.start_span(name, context=context, kind=kind, attributes=attributes)
        if parent.is_valid:
            trace_id, state, is_random = parent.trace_id, parent.trace_state, parent.trace_flags.random_trace_id
        else:
            parent = state = None
            trace_id, is_random = generator.generate_trace_id(), generator.is_trace_id_random()
        own = self.context(trace_id, generator.generate_span_id(), False, self.flags[bool(is_random)], state)
        ended = real._tracer_metrics.start_span(parent, self.decision)
        held = self.attributes(most, immutable=False, max_value_len=longest)
        if attributes:
            held._dict.update(attributes)
        span = object.__new__(self.span)
        span._name, span._context, span._parent, span._kind = name, own, parent, kind
        span._instrumentation_info = real.instrumentation_info
        span._instrumentation_scope = real._instrumentation_scope
        span._start_time = span._end_time = None
        span._attributes = held
        span._events, span._links = self.list(limits.max_events), self.list(limits.max_links)
        span._resource, span._status, span._sampler = real.resource, self.status, sampler
        span._trace_config = None
        span._record_exception = span._set_status_on_exception = True
        span._span_processor, span._limits, span._lock = real.span_processor, limits, threading.Lock()
        span._record_end_metrics = ended
        span._start_time = time_ns()
        real.span_processor.on_start(span, parent_context=context)
        return span
