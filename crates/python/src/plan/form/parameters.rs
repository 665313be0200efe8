//! Parameters that come from a form: FastAPI's `request_body_to_args` for a `FormData`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::Form;
use crate::plan::runtime::Runtime;
use crate::plan::spec::{FormFieldSpec, FormSpec};
use crate::plan::value::{Errors, Value};

/// Reads the parameters of a node, in FastAPI's order: the fields are looked for first, all of them.
pub(crate) fn read_all<'py>(
    py: Python<'py>,
    runtime: &Runtime,
    parameters: &[FormParameter],
    form: &Form,
    errors: &mut Errors<'py>,
    mut take: impl FnMut(usize, Option<Bound<'py, PyAny>>),
) -> PyResult<()> {
    let found = parameters.iter().map(|parameter| parameter.find(py, runtime, form)).collect::<PyResult<Vec<_>>>()?;
    for (parameter, found) in parameters.iter().zip(found) {
        take(parameter.argument, parameter.read(py, runtime, form, found, errors)?);
    }
    Ok(())
}

/// A value, and the name under which it was found.
type Found<'s, 'py> = (&'s Py<PyString>, Bound<'py, PyAny>);

/// A parameter that is a field of a form, or a model of such fields.
pub(crate) struct FormParameter {
    argument: usize,
    fields: Vec<Field>,
    /// `None`: the parameter is its one field.
    model: Option<Model>,
    value: Value,
}

/// How FastAPI looks for a model's fields.
struct Model {
    /// `None` is a value of the parameter, which it has while none of the fields is there.
    optional: bool,
    /// Fields that are not the model's count, too.
    any_counts: bool,
}

impl FormParameter {
    pub(crate) fn new(spec: FormSpec) -> FormParameter {
        FormParameter {
            argument: spec.argument,
            fields: spec.fields.into_iter().map(Field::new).collect(),
            model: spec.model.map(|(optional, any_counts)| Model { optional, any_counts }),
            value: Value::new(spec.value),
        }
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.fields.iter().try_for_each(|field| visit.call(&field.field))?;
        self.value.traverse(visit)
    }

    /// Whether the contents of files are among its values.
    pub(crate) fn reads_files(&self) -> bool {
        self.fields.iter().any(|field| field.contents != Contents::Kept)
    }

    /// Where its value is, unless it is a model.
    fn find<'s, 'py>(&'s self, py: Python<'py>, runtime: &Runtime, form: &Form) -> PyResult<Option<Found<'s, 'py>>> {
        match self.model {
            Some(_) => Ok(None),
            None => self.fields[0].find(py, runtime, form),
        }
    }

    /// The argument, or `None` after its errors were added.
    fn read<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        form: &Form,
        found: Option<Found<'_, 'py>>,
        errors: &mut Errors<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let root = pyo3::intern!(py, "body");
        if let Some(model) = &self.model {
            let members = self.members(py, runtime, model, form)?.map(Bound::into_any);
            return self.value.read(py, runtime, members, errors, || PyTuple::new(py, [root]));
        }
        let (key, found) = match found {
            Some((key, found)) => (key, Some(found)),
            None => (&self.fields[0].keys[0], None),
        };
        self.value.read(py, runtime, found, errors, || PyTuple::new(py, [root, key.bind(py)]))
    }

    /// What the model is validated from; `None` if FastAPI takes it to be absent.
    fn members<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        model: &Model,
        form: &Form,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let last = form.last.bind(py);
        if model.optional && (!model.any_counts || last.is_empty()) {
            let keys = self.fields.iter().flat_map(|field| &field.keys);
            let mut given = keys.map(|key| last.contains(key)).filter(|given| *given.as_ref().unwrap_or(&true));
            if given.next().transpose()?.is_none() {
                return Ok(None);
            }
        }
        let members = PyDict::new(py);
        let mut known = 0;
        for field in &self.fields {
            match field.find(py, runtime, form)? {
                Some((key, value)) => {
                    members.set_item(key, value)?;
                    known += field.tried(py, form, Some(key))?;
                }
                None => known += field.tried(py, form, None)?,
            }
        }
        if known < last.len() {
            self.add_others(py, form, &members)?;
        }
        Ok(Some(members))
    }

    /// What is in the form beside the fields that were looked for: FastAPI leaves it to the model.
    fn add_others<'py>(&self, py: Python<'py>, form: &Form, members: &Bound<'py, PyDict>) -> PyResult<()> {
        let looked_for = PySet::empty(py)?;
        for field in &self.fields {
            for key in &field.keys {
                looked_for.add(key)?;
                // A later name was not looked for once an earlier one had a value.
                if members.contains(key)? {
                    break;
                }
            }
        }
        let grouped = PyDict::new(py);
        for pair in form.list.bind(py) {
            let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair.extract()?;
            if looked_for.contains(&name)? {
                continue;
            }
            match grouped.get_item(&name)? {
                Some(values) => values.cast::<PyList>()?.append(value)?,
                None => grouped.set_item(name, PyList::new(py, [value])?)?,
            }
        }
        for (name, values) in grouped.iter() {
            let values = values.cast_into::<PyList>()?;
            match values.len() {
                1 => members.set_item(name, values.get_item(0)?)?,
                _ => members.set_item(name, values)?,
            }
        }
        Ok(())
    }
}

/// One name, or several of which the first counts that has a value.
struct Field {
    keys: Vec<Py<PyString>>,
    /// All values of the name, not the last.
    is_sequence: bool,
    contents: Contents,
    /// FastAPI's own.
    field: Py<PyAny>,
}

/// What becomes of files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// They stay files.
    Kept,
    /// Their bytes are the value.
    Bytes,
    /// Their bytes are the values.
    List,
}

impl Field {
    fn new(spec: FormFieldSpec) -> Field {
        let contents = match (spec.contents, spec.sequence) {
            (false, _) => Contents::Kept,
            (true, false) => Contents::Bytes,
            (true, true) => Contents::List,
        };
        Field { keys: spec.keys, is_sequence: spec.sequence, contents, field: spec.field }
    }

    /// The value, and the name under which it was found. Empty texts and empty files are none.
    fn find<'s, 'py>(&'s self, py: Python<'py>, runtime: &Runtime, form: &Form) -> PyResult<Option<Found<'s, 'py>>> {
        for key in &self.keys {
            let Some(last) = form.last.bind(py).get_item(key)? else { continue };
            if self.is_sequence {
                let values = PyList::empty(py);
                for pair in form.list.bind(py) {
                    let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair.extract()?;
                    if name.eq(key)? && !is_empty_file(&value)? {
                        values.append(self.content(py, value)?)?;
                    }
                }
                if values.is_empty() {
                    continue;
                }
                let values = match self.contents {
                    Contents::List => runtime.form_sequence.bind(py).call1((&self.field, values))?,
                    _ => values.into_any(),
                };
                return Ok(Some((key, values)));
            }
            let is_empty = match last.cast::<PyString>() {
                Ok(text) => text.len()? == 0,
                Err(_) => is_empty_file(&last)?,
            };
            if !is_empty {
                return Ok(Some((key, self.content(py, last)?)));
            }
        }
        Ok(None)
    }

    /// How many names of the form FastAPI has looked for when it `found` one.
    fn tried(&self, py: Python<'_>, form: &Form, found: Option<&Py<PyString>>) -> PyResult<usize> {
        let mut count = 0;
        for key in &self.keys {
            count += usize::from(form.last.bind(py).contains(key)?);
            if found.is_some_and(|found| found.is(key)) {
                break;
            }
        }
        Ok(count)
    }

    /// FastAPI's `_read_file_bytes`, for files in memory; others are not read here.
    fn content<'py>(&self, py: Python<'py>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if self.contents == Contents::Kept || value.is_instance_of::<PyString>() {
            return Ok(value);
        }
        let file = value.getattr(pyo3::intern!(py, "file"))?;
        let position = file.call_method0(pyo3::intern!(py, "tell"))?;
        let content = file.call_method1(pyo3::intern!(py, "read"), (-1,));
        file.call_method1(pyo3::intern!(py, "seek"), (position,))?;
        content
    }
}

/// What a browser sends where no file was chosen.
fn is_empty_file(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    if value.is_instance_of::<PyString>() {
        return Ok(false);
    }
    Ok(value.getattr(pyo3::intern!(py, "filename"))?.eq("")? && value.getattr(pyo3::intern!(py, "size"))?.eq(0)?)
}
