//! From what an endpoint returned to what goes out.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::call::Call;
use super::file::Sent;
use super::reply::{
    AnswerKind, Reply, bytes_of, encode_json, is_body_allowed, raw_headers, response_loc, status_code, try_encode_json,
};
use super::stream::Flow;
use super::telemetry::end_operation;
use super::value::call_validator;
use crate::watch::RequestClock;

/// A response on its way.
pub(super) enum Outgoing {
    Whole(Reply, Option<Py<PyAny>>),
    /// A response object that sends itself.
    Object(Py<PyAny>),
    /// In pieces.
    Flow(Flow),
}

/// What a response is made of.
enum Content {
    /// Its body.
    Bytes(Bytes),
    /// What its class makes one of.
    Object(Py<PyAny>),
}

impl Call {
    pub(super) async fn answer(&self, value: Py<PyAny>) -> PyResult<Outgoing> {
        let runtime = &self.plans().runtime;
        let own = Python::attach(|py| {
            let value = value.bind(py);
            // By far the most endpoints return a dict or a model.
            if value.is_exact_instance_of::<PyDict>() || !value.is_instance(runtime.response.bind(py))? {
                return PyResult::Ok(None);
            }
            if let Some(background) = self.background.get()
                && value.getattr(pyo3::intern!(py, "background"))?.is_none()
            {
                value.setattr(pyo3::intern!(py, "background"), background)?;
            }
            Ok(Some(value.clone().unbind()))
        })?;
        if let Some(response) = own {
            return Ok(Outgoing::Object(response));
        }
        let operation = self.begin_operation("serialization")?;
        let content = self.content(value).await;
        let content = end_operation(operation, content)?;
        Python::attach(|py| self.make_response(py, content))
    }

    /// What an endpoint's value is as the content of a response.
    async fn content(&self, value: Py<PyAny>) -> PyResult<Content> {
        let answer = &self.plan().answer;
        let runtime = &self.plans().runtime;
        let value = match &answer.field {
            None => value,
            Some(field) => self.validate_response(field, value).await?,
        };
        Python::attach(|py| {
            let value = value.bind(py);
            Ok(match answer.kind {
                AnswerKind::Json if self.telemetry.get().is_none() => Content::Bytes(encode_json(py, runtime, value)?),
                AnswerKind::Json => match try_encode_json(py, runtime, value)? {
                    Some(body) => Content::Bytes(body),
                    // What goes wrong in the response itself is no part of the operation.
                    None => Content::Object(runtime.jsonable_encoder.bind(py).call1((value,))?.unbind()),
                },
                AnswerKind::Class => Content::Object(match &answer.field {
                    Some(_) => answer.serialize(py, value)?.unbind(),
                    None => runtime.jsonable_encoder.bind(py).call1((value,))?.unbind(),
                }),
                _ => Content::Bytes(bytes_of(&answer.serialize(py, value)?)?),
            })
        })
    }

    pub(super) async fn validate_response(&self, field: &Py<PyAny>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let plan = self.plan();
        let runtime = &self.plans().runtime;
        let validated = match &plan.answer.validate {
            Some(validate) if !plan.answer.in_thread => {
                Python::attach(|py| match call_validator(py, runtime, validate, value.bind(py)) {
                    Ok(value) => Ok(Ok(value.unbind())),
                    Err(error) if error.is_instance(py, runtime.validation_error.bind(py)) => {
                        let errors =
                            runtime.located_errors.bind(py).call1((error.into_value(py), response_loc(py)?))?;
                        Ok(Err(errors.unbind()))
                    }
                    Err(error) => Err(error),
                })?
            }
            _ => {
                let result = Python::attach(|py| {
                    let arguments = (field, &value, response_loc(py)?);
                    if !plan.answer.in_thread {
                        return PyResult::Ok((runtime.validate_field.bind(py).call1(arguments)?.unbind(), false));
                    }
                    // Objects of an ORM load what they lack on access, which blocks.
                    let (field, value, loc) = arguments;
                    let threaded =
                        runtime.run_in_threadpool.bind(py).call1((&runtime.validate_field, field, value, loc))?;
                    Ok((threaded.unbind(), true))
                })?;
                let result = match result {
                    (result, false) => result,
                    (awaitable, true) => self.baton().wait_for(awaitable).await?,
                };
                Python::attach(|py| {
                    let (value, errors): (Py<PyAny>, Bound<'_, PyAny>) = result.bind(py).extract()?;
                    PyResult::Ok(if errors.is_truthy()? { Err(errors.unbind()) } else { Ok(value) })
                })?
            }
        };
        validated.map_err(|errors| {
            Python::attach(|py| {
                let arguments = (&plan.route, errors, &value, self.wire.method(), self.root_path());
                match runtime.response_validation_error.bind(py).call1(arguments) {
                    Ok(error) => PyErr::from_value(error),
                    Err(error) => error,
                }
            })
        })
    }

    fn make_response(&self, py: Python<'_>, content: Content) -> PyResult<Outgoing> {
        let injected = self.response.get().map(|response| response.bind(py));
        let status = self.status(py)?;
        let background = self.background.get();
        let body = match content {
            Content::Bytes(body) => body,
            Content::Object(content) => return self.make_object(py, content.bind(py), status, injected),
        };
        let mut reply = Reply::json(status_code(status.unwrap_or(200))?, body);
        if let Some(response) = injected {
            reply.add_headers(response.getattr(pyo3::intern!(py, "raw_headers"))?.cast::<PyList>()?)?;
        }
        Ok(Outgoing::Whole(reply, background.map(|background| background.clone_ref(py))))
    }

    /// The status of the injected response, or the route's; `None`: the class's own.
    pub(super) fn status(&self, py: Python<'_>) -> PyResult<Option<u16>> {
        let injected: Option<u16> = match self.response.get() {
            Some(response) => response.bind(py).getattr(pyo3::intern!(py, "status_code"))?.extract()?,
            None => None,
        };
        Ok(injected.filter(|status| *status != 0).or(self.plan().answer.status))
    }

    /// A response of a class that is not ours to write.
    pub(super) fn make_object(
        &self,
        py: Python<'_>,
        content: &Bound<'_, PyAny>,
        status: Option<u16>,
        injected: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Outgoing> {
        let keywords = PyDict::new(py);
        keywords.set_item("background", self.background.get())?;
        if let Some(status) = status {
            keywords.set_item("status_code", status)?;
        }
        let response = self.plan().answer.class.bind(py).call((content,), Some(&keywords))?;
        if !is_body_allowed(response.getattr(pyo3::intern!(py, "status_code"))?.extract()?) {
            response.setattr(pyo3::intern!(py, "body"), PyBytes::new(py, b""))?;
        }
        if let Some(injected) = injected {
            let raw = response.getattr("headers")?.getattr("raw")?;
            raw.call_method1("extend", (injected.getattr("headers")?.getattr("raw")?,))?;
        }
        Ok(Outgoing::Object(response.unbind()))
    }

    /// Sends a response, then runs its background tasks.
    pub(super) async fn send(&self, response: Outgoing) -> PyResult<()> {
        let background = match response {
            Outgoing::Whole(reply, background) => {
                self.deliver(reply, background.is_none()).await?;
                background
            }
            // On the heap, where they do not make the future of most requests larger.
            Outgoing::Flow(flow) => Box::pin(self.send_flow(flow)).await?,
            Outgoing::Object(response) => Box::pin(self.send_object(response)).await?,
        };
        if let Some(background) = background {
            // What is sent goes out when the step ends. Where tasks are likely to keep the loop, that is before them.
            let clock = self.wire.engine().and_then(|exchange| exchange.clock());
            if clock.is_some_and(RequestClock::may_keep_loop) {
                self.baton().pause().await?;
            }
            let awaitable = Python::attach(|py| background.bind(py).call0().map(Bound::unbind))?;
            self.baton().wait_for(awaitable).await?;
        }
        Ok(())
    }

    /// Sends a response object, and gives its background tasks, unless it has run them itself.
    async fn send_object(&self, response: Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
        match Python::attach(|py| self.known_object(py, response.bind(py)))? {
            Known::Whole(reply, background) => {
                self.deliver(reply, background.is_none()).await?;
                Ok(background)
            }
            Known::Flow(flow) => self.send_flow(flow).await,
            Known::File => match self.send_file(&response).await? {
                Sent::File(background) => Ok(background),
                Sent::Refusal => Ok(None),
                // What is odd about it shows as with every server.
                Sent::Nothing => self.deliver_object(response).await.map(|()| None),
            },
            Known::Nothing => self.deliver_object(response).await.map(|()| None),
        }
    }

    /// What a response object would do, if its class does it in a way that we know.
    fn known_object(&self, py: Python<'_>, response: &Bound<'_, PyAny>) -> PyResult<Known> {
        // Through ASGI it may as well speak for itself.
        if self.wire.engine().is_none() {
            return Ok(Known::Nothing);
        }
        let call = response.get_type().getattr(pyo3::intern!(py, "__call__"))?;
        if self.is_layered() && !Reply::has_plain_names(response)? {
            return Ok(Known::Nothing);
        }
        if call.is(&self.plans().runtime.response_call) {
            let background = response.getattr(pyo3::intern!(py, "background"))?;
            let background = Some(background.unbind()).filter(|background| !background.is_none(py));
            return Ok(Known::Whole(Reply::of_object(py, response)?, background));
        }
        let leaves_pieces = || {
            let headers = raw_headers(&response.getattr(pyo3::intern!(py, "raw_headers"))?)?;
            let kind = headers.iter().find(|(name, _)| *name == CONTENT_TYPE).map(|(_, value)| value);
            self.plans().layers.leaves_pieces(py, kind)
        };
        if self.is_layered() && !leaves_pieces()? {
            return Ok(Known::Nothing);
        }
        if self.is_file(py, response, &call)? {
            return Ok(Known::File);
        }
        Ok(self.flow_of_object(py, response)?.map_or(Known::Nothing, Known::Flow))
    }
}

/// See [`Call::known_object`].
enum Known {
    Whole(Reply, Option<Py<PyAny>>),
    Flow(Flow),
    File,
    Nothing,
}
