//! Applications mounted below a path: what a request that is one of theirs brings along.
//!
//! A mounted application has plans of its own, made when the first request arrives and asked anew whenever they hold no longer.
//! A request that goes straight to them, without FastAPI's own code around, is [`Within`] the mounts that it has passed.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::UNCONVERTIBLE;
use super::request::{Converted, Parameters, convert};
use super::runtime::Runtime;
use super::spec::MountSpec;
use super::table::Plans;
use crate::watch::declared::mount_pattern;

/// A FastAPI application below a path.
pub(crate) struct Mount {
    /// `overdrive.compiler.mounts.Mounted`
    mounted: Py<PyAny>,
    /// FastAPI's route of the mount.
    route: Py<PyAny>,
    /// What its `app` has to be.
    app: Py<PyAny>,
    path_parameters: Parameters,
    /// What the mount adds to a scope besides its paths and parameters.
    scope: Py<PyDict>,
    /// Of the application around, in bytes.
    pub(crate) body_limit: Option<u64>,
    /// Nothing of the user's stands around it.
    pub(crate) is_direct: bool,
    /// `(application) -> application`: what FastAPI itself has put around the mount
    around: Py<PyAny>,
    /// Its path, with its parameters in braces.
    pattern: OnceLock<String>,
    /// The plans that were given last.
    plans: Mutex<Option<Py<Plans>>>,
}

impl Mount {
    pub(super) fn new(spec: MountSpec) -> Mount {
        Mount {
            mounted: spec.mounted,
            route: spec.route,
            app: spec.app,
            path_parameters: spec.path_parameters,
            scope: spec.scope,
            body_limit: spec.body_limit,
            is_direct: spec.is_direct,
            around: spec.around,
            pattern: OnceLock::new(),
            plans: Mutex::default(),
        }
    }

    /// Goes into the mounted application: its plans, and where a request to it stands.
    ///
    /// `outer`: the plans of the application around, `path` as it matches it, with the `values` of the parameters in it.
    ///
    /// # Errors
    /// The reason why FastAPI's own code has to.
    pub(crate) fn enter(
        self: &Arc<Mount>,
        py: Python<'_>,
        outer: &Py<Plans>,
        within: Option<&Within>,
        at: At<'_>,
        mut values: Vec<&str>,
    ) -> Result<(Py<Plans>, Box<Within>), String> {
        if !self.is_direct {
            return Err(self.install(py));
        }
        let plans = self.plans(py)?;
        let rest = values.pop().unwrap_or_default();
        let parameters = convert(py, &self.path_parameters, values).map_err(|_| UNCONVERTIBLE.to_owned())?;
        // Behind the mount's own path there is a slash, and then the rest.
        let own = &at.path[..at.path.len() - rest.len() - 1];
        let mut levels: Vec<_> = within.map_or_else(Vec::new, |within| {
            within.levels.iter().map(|(plans, mount)| (plans.clone_ref(py), mount.clone())).collect()
        });
        levels.push((outer.clone_ref(py), self.clone()));
        let deeper = Within {
            levels,
            root_path: format!("{}{own}", at.root),
            app_root_path: within.map_or(at.root, |within| &within.app_root_path).to_owned(),
            parameters: match within {
                Some(within) => within.with_parameters(py, parameters),
                None => parameters,
            },
        };
        Ok((plans, Box::new(deeper)))
    }

    /// Lets plans answer where the request meets them on its way. Gives the reason for which it is handed on.
    pub(crate) fn install(&self, py: Python<'_>) -> String {
        let given = self.given(py).and_then(|()| {
            let reason = self.mounted.bind(py).call_method0(pyo3::intern!(py, "install"));
            reason.and_then(|reason| reason.extract()).map_err(|error| failed(py, error))
        });
        given.unwrap_or_else(|reason| reason)
    }

    fn plans(&self, py: Python<'_>) -> Result<Py<Plans>, String> {
        self.given(py)?;
        let known = self.lock().as_ref().map(|plans| plans.clone_ref(py));
        if let Some(plans) = known
            && !plans.get().has_changed()
        {
            return Ok(plans);
        }
        let made = self.mounted.bind(py).call_method0(pyo3::intern!(py, "plans")).map_err(|error| failed(py, error))?;
        let (plans, reason) = match made.cast_into::<Plans>() {
            Ok(plans) => (Some(plans.unbind()), None),
            Err(error) => (None, error.into_inner().extract().ok()),
        };
        let before = std::mem::replace(&mut *self.lock(), plans.as_ref().map(|plans| plans.clone_ref(py)));
        drop(before);
        plans.ok_or_else(|| reason.unwrap_or_default())
    }

    fn pattern(&self, py: Python<'_>) -> &str {
        self.pattern.get_or_init(|| mount_pattern(self.route.bind(py)).ok().flatten().unwrap_or_default())
    }

    /// Whether what is mounted is what was.
    fn given(&self, py: Python<'_>) -> Result<(), String> {
        match self.route.bind(py).getattr(pyo3::intern!(py, "app")) {
            Ok(app) if app.is(&self.app) => Ok(()),
            _ => Err("a mount whose application was replaced".to_owned()),
        }
    }

    /// No Python code runs while it is held.
    fn lock(&self) -> MutexGuard<'_, Option<Py<Plans>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in [&self.mounted, &self.route, &self.app, &self.around] {
            visit.call(object)?;
        }
        visit.call(&self.scope)?;
        self.path_parameters.iter().try_for_each(|(_, convert)| visit.call(convert))?;
        let Ok(plans) = self.plans.try_lock() else { return Ok(()) };
        plans.as_ref().map_or(Ok(()), |plans| visit.call(plans))
    }
}

fn failed(py: Python<'_>, error: PyErr) -> String {
    error.write_unraisable(py, None);
    "a mounted application that cannot be compiled".to_owned()
}

/// Where a mount is met: the root path, and the path behind it.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) root: &'a str,
    pub(crate) path: &'a str,
}

/// The mounts that a request has passed on its way to its plan.
pub(crate) struct Within {
    /// The outermost first, each with the plans of the application that it belongs to.
    levels: Vec<(Py<Plans>, Arc<Mount>)>,
    /// Of the innermost application.
    pub(crate) root_path: String,
    /// Of the outermost.
    pub(crate) app_root_path: String,
    parameters: Converted,
}

impl Within {
    /// The plans of the application that all of it belongs to.
    pub(crate) fn outermost(&self) -> &Plans {
        // There is a level as soon as there is one of these.
        self.levels[0].0.get()
    }

    /// The pattern of the path below which the innermost application is mounted, in the outermost one.
    pub(crate) fn mounted(&self, py: Python<'_>) -> Cow<'_, str> {
        match &self.levels[..] {
            [(_, mount)] => Cow::Borrowed(mount.pattern(py)),
            levels => Cow::Owned(levels.iter().map(|(_, mount)| mount.pattern(py)).collect()),
        }
    }

    /// The parameters of all mounts' paths and `own` ones, which take the place of others of their name.
    pub(crate) fn with_parameters(&self, py: Python<'_>, own: Converted) -> Converted {
        let mut all: Converted =
            self.parameters.iter().map(|(name, value)| (name.clone_ref(py), value.clone_ref(py))).collect();
        for (name, value) in own {
            let name_is = |other: &Py<PyString>| other.bind(py).as_any().eq(name.bind(py)).unwrap_or(false);
            match all.iter_mut().find(|(other, _)| name_is(other)) {
                Some(found) => found.1 = value,
                None => all.push((name, value)),
            }
        }
        all
    }

    /// Fills a scope as the mounts do.
    pub(super) fn fill(&self, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = scope.py();
        let app_root_path = pyo3::intern!(py, "app_root_path");
        if !scope.contains(app_root_path)? {
            // An application around all of this may have put its own there.
            scope.set_item(app_root_path, &self.app_root_path)?;
        }
        scope.set_item(pyo3::intern!(py, "root_path"), &self.root_path)?;
        for (_, mount) in &self.levels {
            super::request::merge(scope, mount.scope.bind(py))?;
        }
        Ok(())
    }

    /// The way of an exception through the innermost application's stack, `raise_through`, and then through all others'.
    pub(super) fn raising<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        raise_through: &Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let arounds = PyTuple::new(py, self.levels.iter().rev().map(|(_, mount)| &mount.around))?;
        runtime.raising_below.bind(py).call1((raise_through, arounds))
    }
}
