//! What a request holds, as FastAPI's parameters see it.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::query::{parse_cookies, parse_query};
use super::runtime::Runtime;
use super::spec::ParameterSpec;
use super::value::{Errors, Value};
use super::wire::raw_headers;

/// The head of a request, read as far as somebody asks.
pub(crate) struct Input {
    /// Of the query string, as sent.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// The headers as code of the user's has left them, once it could have changed them.
    changed_headers: RefCell<Option<Rc<HeaderMap>>>,
    /// The converted path parameters, in the order of the path.
    pub(crate) path: RefCell<Vec<(Py<PyString>, Py<PyAny>)>>,
    query_pairs: OnceCell<Vec<(String, String)>>,
    cookies: OnceCell<Vec<(String, String)>>,
}

impl Input {
    pub(crate) fn new(query: &str, headers: HeaderMap, path: Vec<(Py<PyString>, Py<PyAny>)>) -> Input {
        Input {
            query: query.to_owned(),
            headers,
            changed_headers: RefCell::default(),
            path: RefCell::new(path),
            query_pairs: OnceCell::new(),
            cookies: OnceCell::new(),
        }
    }

    /// Takes the path parameters from a scope, where code of the user's may have changed them.
    pub(crate) fn take_path(&self, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = scope.py();
        let Some(given) = scope.get_item(pyo3::intern!(py, "path_params"))? else { return Ok(()) };
        let Ok(given) = given.cast::<PyDict>() else { return Ok(()) };
        let mut path = Vec::with_capacity(given.len());
        for (name, value) in given {
            if let Ok(name) = name.cast_into::<PyString>() {
                path.push((name.unbind(), value.unbind()));
            }
        }
        let before = self.path.replace(path);
        drop(before);
        Ok(())
    }

    /// Takes the headers from a list that code of the user's may have changed; lines that no request can have are passed over.
    pub(crate) fn take_headers(&self, list: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut headers = HeaderMap::new();
        for pair in list.try_iter()? {
            let Ok((name, value)) = pair?.extract::<(PyBackedBytes, PyBackedBytes)>() else { continue };
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_bytes(&value)) {
                headers.append(name, value);
            }
        }
        self.changed_headers.replace(Some(Rc::new(headers)));
        Ok(())
    }

    fn query_pairs(&self) -> &[(String, String)] {
        self.query_pairs.get_or_init(|| {
            parse_query(self.query.as_bytes())
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect()
        })
    }

    fn query_values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.query_pairs().iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of the last cookie of a name.
    fn cookie<'py>(&self, py: Python<'py>, runtime: &Runtime, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let cookies = self.cookies.get_or_init(|| {
            self.headers
                .get_all(http::header::COOKIE)
                .iter()
                .flat_map(|header| parse_cookies(header.as_bytes()))
                .collect()
        });
        let Some((_, value)) = cookies.iter().rev().find(|(other, _)| other == name) else {
            return Ok(None);
        };
        let value = PyString::new(py, value).into_any();
        let quoted = value.cast::<PyString>()?.to_str()?.starts_with('"');
        Ok(Some(if quoted { runtime.unquote_cookie.bind(py).call1((value,))? } else { value }))
    }

    /// One value as `Headers`, `QueryParams` or the dict of cookies would give it.
    pub(crate) fn get<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        source: Source,
        key: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match source {
            Source::Path => None,
            Source::Query => self.query_values(key).next_back().map(|text| string(py, text)),
            Source::Header => HeaderName::from_bytes(key.to_lowercase().as_bytes())
                .ok()
                .and_then(|name| self.headers.get(name).map(|value| latin1(py, value))),
            Source::Cookie => self.cookie(py, runtime, key)?,
        })
    }

    /// All cookies as a dict.
    pub(crate) fn cookies<'py>(&self, py: Python<'py>, runtime: &Runtime) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for header in self.headers.get_all(http::header::COOKIE) {
            for (name, _) in parse_cookies(header.as_bytes()) {
                if let Some(value) = self.cookie(py, runtime, &name)? {
                    dict.set_item(name, value)?;
                }
            }
        }
        Ok(dict)
    }

    /// The path parameters as a dict.
    pub(crate) fn path_parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in &*self.path.borrow() {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }
}

/// Where a parameter comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Path,
    Query,
    Header,
    Cookie,
}

impl Source {
    pub(crate) fn parse(name: &str) -> PyResult<Source> {
        Ok(match name {
            "path" => Source::Path,
            "query" => Source::Query,
            "header" => Source::Header,
            "cookie" => Source::Cookie,
            _ => return Err(pyo3::exceptions::PyValueError::new_err(format!("no source of parameters: {name}"))),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Path => "path",
            Source::Query => "query",
            Source::Header => "header",
            Source::Cookie => "cookie",
        }
    }
}

/// A parameter of a dependency or endpoint.
pub(crate) struct Parameter {
    /// Its place among the arguments.
    pub(crate) argument: usize,
    source: Source,
    /// The names it may have in a request, the preferred first.
    keys: Vec<Key>,
    sequence: bool,
    empty_is_absent: bool,
    is_model: bool,
    value: Value,
}

struct Key {
    object: Py<PyString>,
    text: String,
    /// `None` if no header can have that name.
    header: Option<HeaderName>,
}

impl Parameter {
    pub(crate) fn new(py: Python<'_>, spec: ParameterSpec) -> PyResult<Parameter> {
        let keys = spec.keys.into_iter().map(|object| {
            let text = object.bind(py).to_str()?.to_owned();
            let header = HeaderName::from_bytes(text.to_lowercase().as_bytes()).ok();
            Ok(Key { object, text, header })
        });
        Ok(Parameter {
            argument: spec.argument,
            source: Source::parse(&spec.source)?,
            keys: keys.collect::<PyResult<_>>()?,
            sequence: spec.sequence,
            empty_is_absent: spec.empty_is_absent,
            is_model: spec.model,
            value: Value::new(spec.value),
        })
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.value.traverse(visit)
    }

    /// The argument, or `None` after its errors were added.
    pub(crate) fn read<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        input: &Input,
        errors: &mut Errors<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.is_model {
            return self.read_model(py, runtime, input, errors);
        }
        let (key, found) = self.find(py, runtime, input)?;
        let found = match found {
            Some(value) if self.empty_is_absent && value.len()? == 0 => None,
            found => found,
        };
        let loc = || PyTuple::new(py, [PyString::new(py, self.source.name()), key.object.bind(py).clone()]);
        self.value.read(py, runtime, found, errors, loc)
    }

    fn read_model<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        input: &Input,
        errors: &mut Errors<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let received = match self.source {
            Source::Path => input.path_parameters(py)?.into_any(),
            Source::Query => pyo3::types::PyBytes::new(py, input.query.as_bytes()).into_any(),
            Source::Header => match input.changed_headers.borrow().clone() {
                Some(headers) => raw_headers(py, &*headers)?.into_any(),
                None => raw_headers(py, &input.headers)?.into_any(),
            },
            Source::Cookie => input.cookies(py, runtime)?.into_any(),
        };
        let result = runtime.validate_model.bind(py).call1((self.value.field(), self.source.name(), received))?;
        let (value, found): (Bound<'py, PyAny>, Bound<'py, PyAny>) = result.extract()?;
        Ok(if errors.extend(&found)? { None } else { Some(value) })
    }

    /// The value under the first name that the request has, and that name; else the preferred name.
    fn find<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        input: &Input,
    ) -> PyResult<(&Key, Option<Bound<'py, PyAny>>)> {
        let changed = input.changed_headers.borrow().clone();
        let headers = changed.as_deref().unwrap_or(&input.headers);
        for key in &self.keys {
            let found = match self.source {
                Source::Path => input
                    .path
                    .borrow()
                    .iter()
                    .find(|(name, _)| name.bind(py).to_str().is_ok_and(|name| name == key.text))
                    .map(|(_, value)| value.bind(py).clone()),
                Source::Query => {
                    let mut values = input.query_values(&key.text);
                    if self.sequence { list(py, values)? } else { values.next_back().map(|text| string(py, text)) }
                }
                Source::Header => match &key.header {
                    None => None,
                    Some(name) if self.sequence => {
                        list_of(py, headers.get_all(name).iter().map(|value| latin1(py, value)))?
                    }
                    Some(name) => headers.get(name).map(|value| latin1(py, value)),
                },
                Source::Cookie => input.cookie(py, runtime, &key.text)?,
            };
            if found.is_some() {
                return Ok((key, found));
            }
        }
        Ok((&self.keys[0], None))
    }
}

fn string<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyAny> {
    PyString::new(py, text).into_any()
}

fn list<'a, 'py>(py: Python<'py>, values: impl Iterator<Item = &'a str>) -> PyResult<Option<Bound<'py, PyAny>>> {
    list_of(py, values.map(|text| string(py, text)))
}

/// A list; `None` instead of an empty one.
fn list_of<'py>(
    py: Python<'py>,
    values: impl Iterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let list = PyList::empty(py);
    for value in values {
        list.append(value)?;
    }
    Ok(if list.is_empty() { None } else { Some(list.into_any()) })
}

fn latin1<'py>(py: Python<'py>, value: &HeaderValue) -> Bound<'py, PyAny> {
    match value.to_str() {
        Ok(text) => string(py, text),
        Err(_) => string(py, &value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}
