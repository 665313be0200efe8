//! The Python module `overdrive._overdrive`; `_overdrive.pyi` describes its face.

mod asgi;
mod engine;
mod host;
mod inspect;
mod plan;
mod watch;

use pyo3::prelude::*;

#[pymodule]
fn _overdrive(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    asgi::open_websocket::register(py)?;
    host::awaitable::register(py)?;
    host::coroutine::register(py)?;
    plan::asgi::register(py)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(watch::within::request_part, module)?)?;
    module.add_function(wrap_pyfunction!(watch::thread_call::thread_wanted, module)?)?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<plan::table::Plans>()?;
    module.add_class::<watch::python::PyWatch>()?;
    module.add_class::<inspect::Inspector>()?;
    module.add_class::<inspect::InspectorFeed>()?;
    module.add_class::<asgi::http::HttpChannel>()?;
    module.add_class::<asgi::open_websocket::OpenMessages>()?;
    module.add_class::<asgi::settings::EngineSettings>()
}
