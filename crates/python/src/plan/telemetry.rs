//! FastAPI's own telemetry: what it is told while a plan runs, at the moments at which FastAPI's code would tell it.
//!
//! It is asked for once, when a request comes in through ASGI: without any, nothing of this costs anything.

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyString, PyTuple};

use super::arguments::Solved;
use super::call::Call;
use super::node::Kind;
use crate::host::ffi;

impl Call {
    /// Looks for the telemetry of this request, and tells it the route. In the context of whoever calls the application.
    pub(super) fn observe(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        let runtime = &self.plans().runtime;
        if runtime.request_telemetry.is_none() {
            return Ok(());
        }
        if let Some(found) = runtime.telemetry(py)? {
            let _ = self.telemetry.set(found);
        }
        if scope.get_item(pyo3::intern!(py, "fastapi.telemetry"))?.is_some_and(|telemetry| !telemetry.is_none()) {
            let names = PyTuple::new(py, [pyo3::intern!(py, "scope"), pyo3::intern!(py, "path")])?;
            let path = self.plan().template.bind(py).as_any();
            ffi::call_with_names(runtime.route_selected.bind(py), [scope.as_any(), path], &names)?;
        }
        Ok(())
    }

    /// Shows the request, or the WebSocket, to telemetry.
    pub(super) fn tell_request(&self) -> PyResult<()> {
        self.tell(|py, data| {
            let name =
                if self.wire.is_websocket() { pyo3::intern!(py, "websocket") } else { pyo3::intern!(py, "request") };
            data.setattr(name, self.request(py)?)
        })
    }

    /// Shows the body that was read.
    pub(super) fn tell_body(&self) -> PyResult<()> {
        self.tell(|py, data| data.setattr(pyo3::intern!(py, "body"), self.body().object(py, &self.plans().runtime)?))
    }

    /// Shows the endpoint's arguments, and what is wrong with others.
    fn tell_values(&self, solved: &Solved) -> PyResult<()> {
        self.tell(|py, data| {
            data.setattr(pyo3::intern!(py, "values"), self.found_values(py, &solved.arguments)?)?;
            match &solved.errors {
                Some(errors) => data.setattr(pyo3::intern!(py, "errors"), errors),
                None => data.setattr(pyo3::intern!(py, "errors"), PyList::empty(py)),
            }
        })
    }

    /// Tells of an error that the request's own code is about to raise.
    pub(super) fn tell_invalid(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.telemetry.get().is_some() {
            self.plans().runtime.validation_failed.bind(py).call1((error,))?;
        }
        Ok(())
    }

    /// Fills in what telemetry lets processors see of the request, if there is any.
    fn tell(&self, fill: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<()>) -> PyResult<()> {
        let Some(telemetry) = self.telemetry.get() else { return Ok(()) };
        Python::attach(|py| {
            let data = telemetry.bind(py).getattr(pyo3::intern!(py, "data"))?;
            if data.is_none() { Ok(()) } else { fill(py, &data) }
        })
    }

    /// Runs the dependencies, as an operation that telemetry may trace.
    pub(super) async fn solve_observed(&self) -> PyResult<Solved> {
        let operation = self.begin_operation("dependencies")?;
        let solved = self.solve().await;
        let solved = solved.and_then(|solved| self.tell_values(&solved).map(|()| solved));
        end_operation(operation, solved)
    }

    /// Runs the endpoint, likewise.
    pub(super) async fn call_endpoint(&self, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        let (node, arguments) = self.endpoint(arguments);
        if node.kind != Kind::Sync || self.telemetry.get().is_none() {
            let operation = self.begin_operation("endpoint")?;
            let outcome = self.call(node, arguments).await;
            return end_operation(operation, outcome);
        }
        // The operation is the thread's.
        let keywords = Python::attach(|py| {
            let keywords = PyDict::new(py);
            keywords.set_item(pyo3::intern!(py, "function"), &node.call)?;
            let given = PyDict::new(py);
            for (name, value) in node.names.bind(py).iter().zip(arguments) {
                given.set_item(name, value.as_ref().expect("all arguments are there"))?;
            }
            keywords.set_item(pyo3::intern!(py, "arguments"), given)?;
            PyResult::Ok(keywords.unbind())
        })?;
        self.on_anyios_thread(&self.plans().runtime.run_sync_endpoint, keywords).await
    }

    /// Begins an operation that telemetry may trace, if there is any; [`end_operation`] has to follow.
    ///
    /// Not a function around a future, which would be kept twice: as what it is given, and as what it waits for.
    pub(super) fn begin_operation(&self, name: &'static str) -> PyResult<Option<Py<PyAny>>> {
        if self.telemetry.get().is_none() {
            return Ok(None);
        }
        Python::attach(|py| self.enter_operation(py, name))
    }

    fn enter_operation(&self, py: Python<'_>, name: &str) -> PyResult<Option<Py<PyAny>>> {
        let runtime = &self.plans().runtime;
        let names = PyTuple::new(py, [pyo3::intern!(py, "name"), pyo3::intern!(py, "function")])?;
        let (node, _) = self.plan().nodes.split_last().expect("a plan has its endpoint as its last node");
        let name = PyString::intern(py, name).into_any();
        let operation = ffi::call_with_names(runtime.operation.bind(py), [&name, node.call.bind(py)], &names)?;
        if operation.is(&runtime.no_operation) {
            return Ok(None);
        }
        operation.call_method0(pyo3::intern!(py, "__enter__"))?;
        Ok(Some(operation.unbind()))
    }
}

/// Ends what [`Call::begin_operation`] has begun, with what came of it.
pub(super) fn end_operation<T>(operation: Option<Py<PyAny>>, outcome: PyResult<T>) -> PyResult<T> {
    match operation {
        Some(operation) => Python::attach(|py| leave_operation(py, &operation, outcome)),
        None => outcome,
    }
}

/// As a `with` statement at its end.
fn leave_operation<T>(py: Python<'_>, operation: &Py<PyAny>, outcome: PyResult<T>) -> PyResult<T> {
    let exit = pyo3::intern!(py, "__exit__");
    match outcome {
        Ok(value) => {
            operation.bind(py).call_method1(exit, (py.None(), py.None(), py.None()))?;
            Ok(value)
        }
        Err(error) => {
            let arguments = (error.get_type(py), error.value(py), error.traceback(py));
            operation.bind(py).call_method1(exit, arguments)?;
            Err(error)
        }
    }
}
