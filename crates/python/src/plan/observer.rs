//! An instrument around the whole application, entered by the plan itself: without a scope that is handed through, and
//! without `receive` and `send` wrapped around each other.
//!
//! The observer (`overdrive.compiler.sentry.Observer`) is asked within the request's task. What it gives back is told of each
//! status before that is sent, and of how the request has ended. It may say no; the request then enters the application where
//! all others do.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::call::Call;
use super::table::{Plan, Reads};
use crate::asgi::through;

impl Plan {
    /// Whether an observer may do what stands around the route.
    pub(crate) fn is_observable(&self) -> bool {
        self.before.is_some() && self.reads == Reads::Nothing
    }
}

impl Call {
    /// Whether the head of a request is such that an observer knows what to do: no body, nor a trace that it continues.
    pub(crate) fn is_observable(headers: &HeaderMap) -> bool {
        headers.keys().all(|name| {
            *name != CONTENT_LENGTH
                && *name != TRANSFER_ENCODING
                && !name.as_str().as_bytes().windows(TRACING.len()).any(|part| part == TRACING)
        })
    }

    /// The observer that the plan has to enter.
    pub(super) fn observer(&self) -> Option<Py<PyAny>> {
        let observer = self.plans().observer.as_ref()?;
        let is_outside = self.wire.engine().is_some() && self.within.is_none();
        is_outside.then(|| Python::attach(|py| observer.clone_ref(py)))
    }

    pub(super) async fn run_observed(self: Rc<Self>, observer: Py<PyAny>) -> PyResult<()> {
        let Some(observing) = Python::attach(|py| self.enter_observer(py, &observer))? else {
            return self.pass_on().await;
        };
        let exchange = self.wire.engine().cloned();
        let outcome = self.run().await;
        Python::attach(|py| {
            if let Some(exchange) = &exchange {
                exchange.observe(None);
            }
            let raised = outcome.as_ref().err().map(|error| error.value(py));
            observing.bind(py).call_method1(pyo3::intern!(py, "leave"), (raised,))?;
            outcome
        })
    }

    fn enter_observer(&self, py: Python<'_>, observer: &Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let headers = &self.input.headers;
        let scope = self.wire.scope(py, headers, None)?;
        self.plans().enter_application(py, &scope)?;
        let _ = self.shown_scope.set(scope.clone().unbind());
        let route = self.plan().scope.bind(py);
        let arguments = (
            &scope,
            route,
            joined(py, headers, &HOST),
            joined(py, headers, &USER_AGENT),
            joined(py, headers, &FORWARDED_FOR),
            joined(py, headers, &REAL_IP),
            joined(py, headers, &FORWARDED_HOST),
        );
        let observing = observer.bind(py).call_method1(pyo3::intern!(py, "enter"), arguments)?;
        if observing.is_none() {
            return Ok(None);
        }
        show(&scope, route)?;
        if let Some(exchange) = self.wire.engine() {
            exchange.observe(Some(observing.clone().unbind()));
        }
        let _ = self.observing.set(observing.clone().unbind());
        Ok(Some(observing.unbind()))
    }

    /// Lets the request enter the application from outside.
    async fn pass_on(&self) -> PyResult<()> {
        self.passed_on.set(true);
        let exchange = self.wire.engine().expect("an observer is entered from the engine alone").clone();
        let (scope, plans) = Python::attach(|py| {
            let scope = self.shown_scope.get().expect("it was shown to the observer");
            (scope.clone_ref(py), self.plans_object().clone_ref(py))
        });
        through::run(self.baton(), exchange, scope, plans).await
    }
}

/// Puts what an event may be named after into the scope, as it is there once a route was found.
fn show(scope: &Bound<'_, PyDict>, route: &Bound<'_, PyDict>) -> PyResult<()> {
    for name in [pyo3::intern!(scope.py(), "endpoint"), pyo3::intern!(scope.py(), "route")] {
        if let Some(value) = route.get_item(name)? {
            scope.set_item(name, value)?;
        }
    }
    Ok(())
}

/// The values of a header, with commas between them.
fn joined<'py>(py: Python<'py>, headers: &HeaderMap, name: &HeaderName) -> Option<Bound<'py, PyString>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(match first.to_str() {
            Ok(text) => PyString::new(py, text),
            Err(_) => PyString::new(py, &latin1(first.as_bytes())),
        });
    };
    let mut text = latin1(first.as_bytes());
    for value in std::iter::once(second).chain(values) {
        text.push_str(", ");
        text.push_str(&latin1(value.as_bytes()));
    }
    Some(PyString::new(py, &text))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A header with this in its name may continue a trace, however it is written.
const TRACING: &[u8] = b"sentry";
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
